import assert from 'node:assert/strict'
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { type Connection, dial, requestFor } from './helpers/connection.ts'
import { assertEnded, assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, type Run, start } from './helpers/run.ts'

// While the event loop is blocked, requests wait unread in the kernel. When it goes on, that looks like silence.

interface Case {
  readonly name: string
  /** In an intake hook: each after so many milliseconds, for so many. */
  readonly blocks?: readonly (readonly [afterMs: number, ms: number])[]
  readonly handlerMs?: number
  readonly tls?: boolean
  readonly withoutAddons?: boolean
  readonly pid1?: boolean
}

const cases: readonly Case[] = [
  { name: 'by an intake hook', blocks: [[0, 1300]] },
  { name: 'by an intake hook, as PID 1', blocks: [[0, 1300]], pid1: true },
  { name: 'by an intake hook, without the native part', blocks: [[0, 1300]], withoutAddons: true },
  { name: 'by an intake hook, over https', blocks: [[0, 1300]], tls: true },
  { name: 'just before the linger is over', blocks: [[450, 1300]] },
  { name: 'just before the linger is over, without the native part', blocks: [[450, 1300]], withoutAddons: true },
  { name: 'several times', blocks: [[0, 1100], [1, 500], [2, 1100]] }, // prettier-ignore
  { name: 'by a request', handlerMs: 1300 },
  { name: 'by a request, without the native part', handlerMs: 1300, withoutAddons: true },
]

for (const { name, blocks, handlerMs, tls = false, withoutAddons = false, pid1 = false } of cases) {
  void test(`a loop that is blocked for longer than lingerMs loses no request: ${name}`, async (t) => {
    const options = { tls, blocks, configure: { gracePeriodMs: 20_000 } }
    const nodeArgs = withoutAddons ? ['--no-addons'] : []
    const run = start(t, 'servers/http.js', { pid1, nodeArgs, args: [JSON.stringify(options)] })
    const connections = await dialSome(t, await run.port(), tls)
    await wait(300)
    run.signal('SIGTERM')
    if (handlerMs !== undefined) connections.pop()?.send(requestFor(`/block?for=${handlerMs}`))
    await run.line(/blocked/)
    for (const connection of connections) {
      connection.send(requestFor('/'))
      await wait(5)
    }
    for (const connection of connections) {
      const { text, how } = await connection.ended
      assert.equal(text.match(/answered/g)?.length, 2, text)
      assert.equal(how, 'FIN')
    }
    assertServed(await run.ended, withoutAddons)
  })
}

for (const [name, tls] of [
  ['in clear', false],
  ['over TLS', true],
] as const) {
  void test(`a loop that is blocked for longer than lingerMs loses no stream of HTTP/2: ${name}`, async (t) => {
    const options = { tls, blocks: [[0, 1300]], configure: { gracePeriodMs: 20_000 } }
    const run = start(t, 'servers/http2.js', { args: [JSON.stringify(options)] })
    const url = `${tls ? 'https' : 'http'}://127.0.0.1:${await run.port()}`
    const sessions = Array.from({ length: 20 }, () => connectHttp2(url, { rejectUnauthorized: false }))
    t.after(() => sessions.forEach((session) => session.destroy()))
    for (const session of sessions) assert.equal(await askOn(session), 200)
    await wait(300)
    run.signal('SIGTERM')
    await run.line(/blocked/)
    const answers = []
    // With TLS every stream is a record of its own.
    for (let stream = 0; stream < 3; stream++) {
      answers.push(...sessions.map(askOn))
      await wait(20)
    }
    assert.deepEqual(await Promise.all(answers), Array<number>(60).fill(200))
    assertStoppedWell(await run.ended)
  })
}

asChildAndPid1('requests that waited in the kernel until the time was up are counted as cut', async (t, pid1) => {
  const options = { blocks: [[0, 750]], configure: { gracePeriodMs: 1000 } }
  const run = start(t, 'servers/http.js', { pid1, args: [JSON.stringify(options)] })
  const connections = await dialSome(t, await run.port(), false)
  run.signal('SIGTERM')
  await run.line(/blocked/)
  for (const connection of connections) connection.send(requestFor('/slow?ms=900'))
  for (const connection of connections) assert.match((await connection.ended).text, /answeredHTTP\/1\.1 503 /)
  const ended = await run.ended
  assertEnded(ended, 124)
  assert.match(ended.stderr, /did not answer in time: GET \/slow, /)
  assert.equal(reportIn(ended).connections.cut, connections.length)
})

async function dialSome(t: TestContext, port: number, tls: boolean): Promise<Connection[]> {
  const connections = await Promise.all(Array.from({ length: 20 }, () => dial(t, port, { tls })))
  for (const connection of connections) {
    connection.send(requestFor('/'))
    await connection.received(/answered/)
  }
  return connections
}

async function askOn(session: ClientHttp2Session): Promise<number> {
  const stream = session.request({ ':path': '/' })
  const [headers] = (await once(stream, 'response')) as [{ ':status': number }]
  stream.resume()
  await once(stream, 'close')
  return headers[':status']
}

function assertServed(ended: Awaited<Run['ended']>, withoutAddons: boolean): void {
  if (withoutAddons) assertEnded(ended, 0)
  else assertStoppedWell(ended)
  assert.equal(reportIn(ended).connections.cut, 0)
}
