import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { WebSocket } from 'ws'
import { type Connection, dial, requestFor, upgradeFor, waitUntilRefused } from './helpers/connection.ts'
import { assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, type Ended, type Run, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

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
  asChildAndPid1(`an open WebSocket ${name} is closed with 1001 on both sides, at once`, async (t, pid1) => {
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
  [' whose type is Text/Event-Stream', { fixture: 'servers/http.js', path: '/mixed-case-events?ms=0' }],
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
  assertTook(ended.ms, { over: 280 })
})

asChildAndPid1('an event stream that begins during the drain is ended then', async (t, pid1) => {
  const { run, port } = await startApp(t, pid1, { fixture: 'servers/http.js' })
  const stream = await dial(t, port)
  stream.send(requestFor('/late-events?ms=400'))
  await run.line(/got/)
  run.signal('SIGTERM')
  assert.match((await stream.ended).text, /data: 1\n\n\r\n0\r\n\r\n$/)
  const ended = await run.ended
  assertEndedWith(ended, { drained: 0, ended: 1, cut: 0 })
  assertTook(ended.ms, { under: 1500 })
})

asChildAndPid1('a long poll that is answered during drainDelayMs keeps its connection open', async (t, pid1) => {
  const options = says({ '/slow': true }, { drain: { drainDelayMs: 800, lingerMs: 300 } })
  const { run, port } = await startApp(t, pid1, { fixture: 'servers/http.js', options })
  const poll = await dial(t, port)
  poll.send(requestFor('/slow?ms=100'))
  await run.line(/got/)
  run.signal('SIGTERM')
  await poll.received(/answered/)
  poll.send(requestFor('/slow?ms=100'))
  await poll.received(/answered[^]*answered/)
  assert.equal((await poll.ended).how, 'FIN')
  assertStoppedWell(await run.ended)
})

for (const handedOver of [true, false]) {
  const which = handedOver ? 'handed over' : 'not handed over'
  asChildAndPid1(
    `a WebSocket whose client does not answer the close does not delay the stop (${which})`,
    async (t, pid1) => {
      const { run, port } = await startApp(t, pid1, ws({ way: 'server', handedOver }))
      const connection = await dial(t, port, { stays: true })
      connection.send(upgradeFor('/socket'))
      await connection.received(/ 101 /)
      run.signal('SIGTERM')
      const ended = await run.ended
      assertEndedWith(ended, { drained: 0, ended: 1, cut: 0 })
      assertTook(ended.ms, { under: 2000 })
      assertSaysGoingAway((await connection.ended).text)
    },
  )
}

asChildAndPid1(
  'connections without an end of their own are closed when the ordinary requests are answered, not before',
  async (t, pid1) => {
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
    assertTook(ended.ms, { over: 450, under: 1500 })
  },
)

interface Kind {
  readonly what: string
  readonly path: string
  readonly method?: 'GET' | 'POST'
  readonly options?: object
  readonly text: RegExp
  readonly connections: object
  readonly stderr?: string
}

const begun = /^HTTP\/1\.1 200 /.source
const clean = /\r\n0\r\n\r\n$/.source
const drained = { drained: 1, ended: 0, cut: 0 }
const wasEnded = { drained: 0, ended: 1, cut: 0 }
const whole = new RegExp(`${begun}[^]*data: 6[^]*data: done[^]*${clean}`)
const endedEarly = new RegExp(`${begun}(?![^]*data: 6)[^]*${clean}`)
const says = (endless: object, more: object = {}) => ({ endless, ...more })

for (const { what, path, method, options, text, connections, stderr = '' } of [
  {
    what: 'an event stream that answers a POST has an end',
    path: '/completion',
    method: 'POST',
    text: whole,
    connections: drained,
  },
  { what: 'an event stream that answers a GET has none', path: '/completion', text: endedEarly, connections: wasEnded },
  {
    what: 'an event stream that answers a GET has an end if the app says so',
    path: '/completion',
    options: says({ '/completion': false }),
    text: whole,
    connections: drained,
  },
  {
    what: 'the app may say so for all servers',
    path: '/completion',
    options: says({ '/completion': false }, { endlessInConfigure: true }),
    text: whole,
    connections: drained,
  },
  {
    what: 'an event stream that answers a POST has no end if the app says so',
    path: '/completion',
    method: 'POST',
    options: says({ '/completion': true }),
    text: endedEarly,
    connections: wasEnded,
  },
  {
    what: 'another stream has no end if the app says so',
    path: '/watch?ms=0',
    options: says({ '/watch': true }),
    text: new RegExp(`${begun}[^]*\\{\\}\\n${clean}`),
    connections: wasEnded,
  },
  {
    what: 'a long poll has no end if the app says so: 503',
    path: '/never?ms=0',
    options: says({ '/never': true }),
    text: /^HTTP\/1\.1 503 [^]*Retry-After: 1\r\n/,
    connections: wasEnded,
  },
  {
    what: 'a long poll that the app answers by itself is answered',
    path: '/poll?ms=0',
    options: says({ '/poll': true }),
    text: /^HTTP\/1\.1 200 [^]*answered: nothing new$/,
    connections: wasEnded,
  },
  {
    what: 'where the app does not say, the rule decides',
    path: '/completion',
    options: says({}),
    text: endedEarly,
    connections: wasEnded,
  },
  {
    what: 'where the app fails to say, the rule decides',
    path: '/completion',
    options: says({ '/completion': 'throws' }),
    text: endedEarly,
    connections: wasEnded,
    stderr: 'pid1: isEndless failed: Error: the app cannot say\n',
  },
] satisfies Kind[] as readonly Kind[]) {
  asChildAndPid1(`isEndless: ${what}`, async (t, pid1) => {
    const { run, port } = await startApp(t, pid1, {
      fixture: 'servers/http.js',
      options: { ...options, configure: { lingerMs: 300 } },
    })
    const connection = await dial(t, port)
    connection.send(requestFor(path).replace('GET', method ?? 'GET'))
    await (path === '/completion' || path.startsWith('/watch') ? connection.received(/data: 1|\{\}/) : run.line(/got/))
    run.signal('SIGTERM')
    assert.match((await connection.ended).text, text)
    const ended = await run.ended
    assert.equal(ended.code, 0, ended.stderr)
    assert.equal(ended.stderr.split('\n    at')[0]?.trim(), stderr.trim())
    assert.deepEqual(reportIn(ended).connections, connections)
    assertTook(ended.ms, { under: 2500 })
  })
}

asChildAndPid1('an event stream that answers a POST, and is cut, does not end cleanly', async (t, pid1) => {
  const options = { configure: { gracePeriodMs: 800 } }
  const { run, port } = await startApp(t, pid1, { fixture: 'servers/http.js', options })
  const connection = await dial(t, port)
  connection.send(requestFor('/events?ms=0').replace('GET', 'POST'))
  await connection.received(/data: 1/)
  run.signal('SIGTERM')
  assert.doesNotMatch((await connection.ended).text, /\r\n0\r\n\r\n$/)
  const ended = await run.ended
  assert.equal(ended.code, 124)
  assert.match(ended.stderr, /^pid1: the server on port \d+ did not answer in time: POST \/events\n$/)
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

/** A browser's tab hardly delays a stop. By the reports, which do not count how busy the machine is when a process exits. */
function assertSoonAfter(ended: Ended, idle: Ended): void {
  assertTook(reportIn(ended).durationMs - reportIn(idle).durationMs, { under: 200 })
}

/** A close frame with 1001, from `ws` with a reason too. */
function assertSaysGoingAway(text: string): void {
  const [opcode, , high = 0, low = 0] = Buffer.from(text.slice(text.indexOf('\r\n\r\n') + 4), 'latin1')
  assert.deepEqual([opcode, high * 256 + low], [0x88, 1001])
}
