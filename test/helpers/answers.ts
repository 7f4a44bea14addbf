import assert from 'node:assert/strict'
import type { Connection } from './connection.ts'

/** The answers that came on one connection. */
export function answersIn(text: string): string[] {
  return text.split(/(?=HTTP\/1\.1 )/)
}

export function saysClose(text: string | undefined): boolean {
  return /^connection: close\r$/im.test(text ?? '')
}

export function assertAnswered(text: string, body: string): void {
  assert.match(text, /^HTTP\/1\.1 200 /)
  assert.equal(text.slice(text.indexOf('\r\n\r\n') + 4), body)
}

/** Each request has its answer, only the last answer says close, and the server has then closed the connection. */
export async function assertAnsweredInTurn(connection: Connection, count: number): Promise<void> {
  const { text, how } = await connection.ended
  const answers = answersIn(text)
  assert.equal(answers.length, count, text)
  for (const answer of answers) assertAnswered(answer, 'answered')
  assert.deepEqual(
    answers.map(saysClose),
    answers.map((_, index) => index === count - 1),
  )
  assert.equal(how, 'FIN')
}

/** The last answer on this connection has this body and says close, and the server has then closed the connection. */
export async function assertLastAnswer(connection: Connection, body: RegExp): Promise<void> {
  const { text, how } = await connection.ended
  const last = text.slice(text.lastIndexOf('HTTP/1.1 200'))
  assert.match(last, body)
  assert.equal(saysClose(last), true, last)
  assert.equal(how, 'FIN')
}
