import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { setTimeout as wait } from 'node:timers/promises'
import { startHttp2Client } from './http2-client.ts'
import { now, type Outcome, type RunningClient } from './outcome.ts'
import type { Client, Server } from './scenario.ts'
import { startWebSocket } from './websocket-client.ts'

export function startClient(client: Client, { kind }: Server, port: number): RunningClient {
  if (kind === 'http2') return startHttp2Client(client, port)
  if (client.kind === 'webSocket') return startWebSocket(port)
  const dial = () =>
    kind === 'https' ? connectTls({ port, rejectUnauthorized: false }) : connectTcp(port, '127.0.0.1')
  let go = () => {}
  const started = new Promise<void>((resolve) => void (go = resolve))
  let isReady = () => {}
  const ready = new Promise<void>((resolve) => void (isReady = resolve))
  const outcomes = play(client, () => new Connection(dial, kind === 'https'), started, isReady)
  return { ready, go, outcomes: outcomes.finally(isReady) }
}

async function play(client: Client, dial: () => Connection, started: Promise<void>, isReady: () => void) {
  const { kind, ms, thinkMs } = client
  if (kind === 'new') {
    isReady()
    await started
    await wait(ms)
  }
  const connection = dial()
  await connection.dialled
  switch (kind) {
    case 'kept':
      while (!connection.isOver) {
        await connection.ask(`GET /?ms=${ms} HTTP/1.1\r\nHost: a\r\n\r\n`)
        isReady()
        await wait(thinkMs)
        // A poll phase lies between the timer and the next request, so a FIN that has arrived is seen before the request is sent.
        await new Promise((resolve) => void setImmediate(resolve))
      }
      break
    case 'new':
      await connection.ask('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
      break
    case 'slow':
      await soon(connection.ask(`GET /?ms=${ms} HTTP/1.1\r\nHost: a\r\n\r\n`), isReady)
      break
    case 'blocking':
      isReady() // asks when the shutdown has begun
      await started
      await connection.ask(`GET /?block=${ms} HTTP/1.1\r\nHost: a\r\n\r\n`)
      break
    case 'upload':
      await soon(connection.upload(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n`, ms), isReady)
      break
    case 'pipelining': {
      const asked = [1, 2, 3].map(() => connection.ask(`GET /?ms=${ms} HTTP/1.1\r\nHost: a\r\n\r\n`))
      await soon(Promise.all(asked), isReady)
      break
    }
    case 'eventStream':
      await soon(connection.ask('GET /events HTTP/1.1\r\nHost: a\r\n\r\n', true), isReady)
      break
    case 'half':
      connection.socket.write('GET / HTTP/1.1\r\nHost: ')
      await soon(connection.closed, isReady)
      break
    default:
      await soon(connection.closed, isReady)
  }
  if (!connection.isOver) connection.socket.end()
  await connection.closed
  return connection.outcomes
}

/** A request reaches the server a moment after it was written. */
async function soon(promise: Promise<unknown>, isReady: () => void): Promise<void> {
  setTimeout(isReady, 30)
  await promise
}

interface Asked {
  readonly sentAt: number
  readonly idleMs: number
  readonly isStream: boolean
  readonly resolve: () => void
}

class Connection {
  readonly socket: Socket
  readonly outcomes: Outcome[] = []
  readonly dialled: Promise<void>
  readonly closed: Promise<void>
  /** No further request may be written: the server has announced the close, or the connection is closed. */
  isOver = false
  #isMade = false
  #text = ''
  #lastUse = 0
  #error = 'FIN'
  readonly #asked: Asked[] = []

  constructor(dial: () => Socket, isTls: boolean) {
    const dialledAt = now()
    this.socket = dial()
    this.socket.setNoDelay(true)
    this.dialled = new Promise((resolve) => {
      this.socket.once(isTls ? 'secureConnect' : 'connect', () => {
        this.#isMade = true
        this.#lastUse = now()
        resolve()
      })
      this.socket.once('close', () => resolve())
    })
    this.closed = new Promise((resolve) => void this.socket.once('close', () => resolve()))
    this.socket.on('data', (data: Buffer) => this.#receive(data.toString('latin1')))
    this.socket.on('end', () => void (this.isOver = true))
    this.socket.on('error', (error: NodeJS.ErrnoException) => void (this.#error = error.code ?? error.message))
    this.socket.on('close', () => this.#close(dialledAt))
  }

  ask(request: string, isStream = false): Promise<void> {
    if (this.isOver) return Promise.resolve()
    return new Promise((resolve) => {
      const sentAt = now()
      const idleMs = this.#asked.length > 0 ? 0 : sentAt - this.#lastUse
      this.#asked.push({ sentAt, idleMs, isStream, resolve })
      this.socket.write(request)
    })
  }

  async upload(head: string, ms: number): Promise<void> {
    const answered = this.ask(head)
    for (let n = 0; n < 5; n++) {
      await wait(ms / 5)
      this.socket.write('.'.repeat(10))
    }
    await answered
  }

  #receive(data: string): void {
    this.#text += data
    this.#lastUse = now()
    for (;;) {
      const asked = this.#asked[0]
      const answer = parse(this.#text)
      if (asked === undefined || answer === undefined) return
      this.#text = this.#text.slice(answer.length)
      if (answer.closes) this.isOver = true
      this.#asked.shift()
      const how = answer.status === 503 ? 'unavailable' : asked.isStream ? 'closed' : 'answered'
      this.#settle(asked, how, String(answer.status))
    }
  }

  #close(dialledAt: number): void {
    this.isOver = true
    const dialled = { sentAt: dialledAt, idleMs: 0, isStream: false, resolve: () => {} }
    if (!this.#isMade) this.#settle(dialled, this.#error === 'ECONNREFUSED' ? 'refused' : 'lost', this.#error)
    // A request behind an answer with Connection: close is not lost: the client knows that the app has not seen it.
    for (const asked of this.#asked.splice(0)) this.#settle(asked, 'lost', this.#error)
  }

  #settle(asked: Asked, how: Outcome['how'], detail: string): void {
    this.outcomes.push({ sentAt: asked.sentAt, endedAt: now(), how, detail, idleMs: asked.idleMs })
    asked.resolve()
  }
}

/** The first complete answer in a text; undefined until it is complete. */
function parse(text: string): { status: number; closes: boolean; length: number } | undefined {
  const headEnd = text.indexOf('\r\n\r\n')
  if (headEnd === -1) return undefined
  const head = text.slice(0, headEnd).toLowerCase()
  const contentLength = /\r\ncontent-length: *(\d+)/.exec(head)?.[1]
  const last = text.indexOf('\r\n0\r\n\r\n', headEnd)
  const length = contentLength === undefined ? (last === -1 ? Infinity : last + 7) : headEnd + 4 + Number(contentLength)
  if (length > text.length) return undefined
  return { status: Number(head.slice(9, 12)), closes: /\r\nconnection: *close/.test(head), length }
}
