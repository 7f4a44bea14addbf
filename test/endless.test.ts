import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { WebSocket } from 'ws'
import { type Connection, dial, requestFor, upgradeFor, waitUntilRefused } from './helpers/connection.ts'
import { assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, type Ended, type Run, start } from './helpers/run.ts'

interface App {
  readonly fixture: string
  readonly path?: string
  readonly options?: object
}

const withWebSockets: readonly (readonly [name: string, app: App])[] = [
  ['of a ws server that was handed over', ws({ way: 'server', handedOver: true })],
  ['of a ws server that was not', ws({ way: 'server', handedOver: false })],
  ['over https, of a ws server that was handed over', ws({ way: 'server', handedOver: true, tls: true })],
  ['over https, of a ws server that was not', ws({ way: 'server', handedOver: false, tls: true })],
  ['of a ws server with a port of its own', ws({ way: 'port', handedOver: true })],
  ['of a ws server without a server, handed over', ws({ way: 'noServer', handedOver: true })],
  ['of a ws server without a server, not handed over', ws({ way: 'noServer', handedOver: false })],
  ['of @fastify/websocket', { fixture: 'servers/fastify.js', path: '/socket' }],
]

for (const [name, app] of withWebSockets) {
  asChildAndPid1(`an open WebSocket ${name} is told 1001 on both sides, at once`, async (t, pid1) => {
    const idle = await stopIdle(t, pid1, app)
    const { run, port } = await startApp(t, pid1, app)
    const socket = await openWebSocket(t, port, app)
    const clientCode = once(socket, 'close').then(([code]) => Number(code))
    run.signal('SIGTERM')
    assert.equal(await clientCode, 1001)
    const ended = await run.ended
    assert.match(ended.stdout, /^closed 1001$/m)
    assertEndedWith(ended, { drained: 0, ended: 1, cut: 0 })
    assertSoonAfter(ended, idle)
  })
}

for (const [name, app] of withWebSockets.slice(0, 3)) {
  asChildAndPid1(`no WebSocket is opened on a server that drains: 503 (${name})`, async (t, pid1) => {
    const { run, port } = await startApp(t, pid1, app)
    const { tls = false } = app.options as { tls?: boolean }
    const late = await dial(t, port, { tls })
    late.send(requestFor('/'))
    await late.received(/answered/)
    run.signal('SIGTERM')
    await waitUntilRefused(port)
    late.send(upgradeFor('/socket'))
    const { text, how } = await late.ended
    assert.match(text, /answered(HTTP\/1\.1 503 Service Unavailable\r\n[^]*Retry-After: 1\r\n[^]*)$/)
    assert.equal(how, 'FIN')
    assertStoppedWell(await run.ended)
  })
}

const streams: readonly (readonly [name: string, app: App])[] = [
  ['', { fixture: 'servers/http.js', path: '/events?ms=0' }],
  [' begun by writeHead with a raw list', { fixture: 'servers/http.js', path: '/raw-events?ms=0' }],
  [' over https', { fixture: 'servers/http.js', path: '/events?ms=0', options: { tls: true } }],
  [' that the app goes on writing to', { fixture: 'servers/http.js', path: '/events-for-ever?ms=0' }],
  [' that the app itself ends', { fixture: 'servers/http.js', path: '/events-with-end?ms=0' }],
  [' of Fastify', { fixture: 'servers/fastify.js', path: '/events?ms=0' }],
]

for (const [name, app] of streams) {
  asChildAndPid1(`an open event stream${name} ends cleanly, at once`, async (t, pid1) => {
    const idle = await stopIdle(t, pid1, app)
    const { run, port } = await startApp(t, pid1, app)
    const stream = await openStream(t, port, app)
    run.signal('SIGTERM')
    const { text, how } = await stream.ended
    assert.match(text, /\r\n0\r\n\r\n$/)
    assert.equal(how, 'FIN')
    const ended = await run.ended
    assertEndedWith(ended, { drained: 0, ended: 1, cut: 0 })
    assertSoonAfter(ended, idle)
  })
}

asChildAndPid1('an app may go on writing to an event stream that was ended, while hooks run', async (t, pid1) => {
  const app = { fixture: 'servers/http.js', path: '/events-for-ever?ms=0', options: { hookMs: 300 } }
  const { run, port } = await startApp(t, pid1, app)
  const stream = await openStream(t, port, app)
  run.signal('SIGTERM')
  assert.match((await stream.ended).text, /\r\n0\r\n\r\n$/)
  const ended = await run.ended
  assertEndedWith(ended, { drained: 0, ended: 1, cut: 0 })
  assert.ok(ended.ms > 280, `${ended.ms} ms`)
})

for (const handedOver of [true, false]) {
  const which = handedOver ? 'handed over' : 'not handed over'
  asChildAndPid1(`a WebSocket whose client does not answer the close does not hold (${which})`, async (t, pid1) => {
    const { run, port } = await startApp(t, pid1, ws({ way: 'server', handedOver }))
    const connection = await dial(t, port, { stays: true })
    connection.send(upgradeFor('/socket'))
    await connection.received(/ 101 /)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEndedWith(ended, { drained: 0, ended: 1, cut: 0 })
    assert.ok(ended.ms < 2000, `${ended.ms} ms`)
    assertSaysGoingAway((await connection.ended).text)
  })
}

asChildAndPid1('what has no end is told when the ordinary requests are answered, not before', async (t, pid1) => {
  const { run, port } = await startApp(t, pid1, ws({ way: 'server', handedOver: true }))
  const socket = await openWebSocket(t, port, ws({}))
  const clientCode = once(socket, 'close').then(([code]) => Number(code))
  const stream = await openStream(t, port, { fixture: '', path: '/events?ms=0' })
  const request = await dial(t, port)
  request.send(requestFor('/slow?ms=600'))
  await run.line(/got \/slow/)
  run.signal('SIGTERM')
  await run.line(/stopping/)
  socket.send('still here?')
  await once(socket, 'message')
  assert.match((await request.ended).text, /^HTTP\/1\.1 200 [^]*answered$/)
  assert.equal(await clientCode, 1001)
  assert.match((await stream.ended).text, /\r\n0\r\n\r\n$/)
  const ended = await run.ended
  assertEndedWith(ended, { drained: 1, ended: 2, cut: 0 })
  assert.ok(ended.ms > 450 && ended.ms < 1500, `${ended.ms} ms`)
})

function ws(options: object): App {
  return { fixture: 'servers/websocket.js', path: '/socket', options }
}

async function startApp(t: TestContext, pid1: boolean, app: App): Promise<{ run: Run; port: number }> {
  const run = start(t, app.fixture, { pid1, args: [JSON.stringify(app.options ?? {})] })
  return { run, port: await run.port() }
}

/** The same app with nothing open. */
async function stopIdle(t: TestContext, pid1: boolean, app: App): Promise<Ended> {
  const { run } = await startApp(t, pid1, app)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  return ended
}

/** An open WebSocket that has been used. */
async function openWebSocket(t: TestContext, port: number, { path, options }: App): Promise<WebSocket> {
  const isTls = options !== undefined && 'tls' in options
  const address = `${isTls ? 'wss' : 'ws'}://127.0.0.1:${port}${path}`
  const socket = new WebSocket(address, { rejectUnauthorized: false })
  t.after(() => socket.terminate())
  await once(socket, 'open')
  socket.send('hello')
  await once(socket, 'message')
  return socket
}

/** An event stream that has begun. */
async function openStream(t: TestContext, port: number, { path, options }: App): Promise<Connection> {
  const stream = await dial(t, port, { tls: options !== undefined && 'tls' in options })
  stream.send(requestFor(path ?? ''))
  await stream.received(/data: 1\n\n/)
  return stream
}

function assertEndedWith(ended: Ended, connections: object): void {
  assertStoppedWell(ended)
  assert.deepEqual(reportIn(ended).connections, connections)
}

/** A browser's tab costs a stop hardly anything. */
function assertSoonAfter(ended: Ended, idle: Ended): void {
  assert.ok(ended.ms < idle.ms + 200, `${ended.ms} ms, and ${idle.ms} ms with nothing open`)
}

/** A close frame with 1001, from `ws` with a reason too. */
function assertSaysGoingAway(text: string): void {
  const [opcode, , high = 0, low = 0] = Buffer.from(text.slice(text.indexOf('\r\n\r\n') + 4), 'latin1')
  assert.deepEqual([opcode, high * 256 + low], [0x88, 1001])
}
