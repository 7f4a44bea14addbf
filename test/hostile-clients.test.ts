import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { dial, postFor, requestFor, waitUntilRefused } from './helpers/connection.ts'
import { startServer } from './helpers/http-server.ts'
import { inNetwork } from './helpers/network.ts'
import { assertEnded, assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, type Ended, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

// A client must not be able to hold a stop to its deadline, nor to turn its exit code into a failure.

asChildAndPid1(
  'a client that never stops pipelining gets Connection: close after lingerMs, and all its requests until then are answered',
  async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, drain: { lingerMs: 300 } })
    const connection = await dial(t, port)
    const timer = setInterval(() => connection.send(requestFor('/slow?ms=50')), 20)
    t.after(() => clearInterval(timer))
    await run.line(/(got[^]*){3}/)
    run.signal('SIGTERM')
    const { text, how } = await connection.ended
    clearInterval(timer)
    const ended = await run.ended
    assertStoppedWell(ended)
    const answers = text.split(/(?=HTTP\/1\.1 )/)
    assert.equal(answers.length, ended.stdout.match(/^got /gm)?.length)
    assert.deepEqual(
      answers.map((answer) => /^connection: close\r$/im.test(answer)),
      answers.map((_, index) => index === answers.length - 1),
    )
    for (const answer of answers) assert.match(answer, /^HTTP\/1\.1 200 [^]*answered$/)
    assert.equal(how, 'FIN')
    assertTook(ended.ms, { under: 2500 })
  },
)

for (const { name, tls = false, nodeArgs = [] } of [
  { name: 'http' },
  { name: 'https', tls: true },
  { name: 'http without the native part', nodeArgs: ['--no-addons'] },
]) {
  test(`${name}: a request whose body stops arriving is abandoned, without exit code 124`, async (t) => {
    const { run, port } = await startServer(t, { tls, nodeArgs, drain: { lingerMs: 300 } })
    const connection = await dial(t, port, { tls, stays: true })
    connection.send(postFor('/upload', 100) + 'some')
    await run.line(/got/)
    run.signal('SIGTERM')
    assert.match((await connection.ended).text, /^HTTP\/1\.1 503 /)
    assertGivenUp(await run.ended, 'POST /upload')
  })

  test(`${name}: a body that arrives slowly is received`, async (t) => {
    const { run, port } = await startServer(t, { tls, nodeArgs, drain: { lingerMs: 100 } })
    const connection = await dial(t, port, { tls })
    connection.send(postFor('/upload', 5))
    await run.line(/got/)
    run.signal('SIGTERM')
    for (const byte of 'bytes') {
      await wait(600)
      connection.send(byte)
    }
    assert.match((await connection.ended).text, /answered 5$/)
    assert.equal(reportIn(await run.ended).exitCode, 0)
  })
}

test('a request whose body the app does not read is not abandoned', async (t) => {
  const { run, port } = await startServer(t, { drain: { lingerMs: 100 } })
  const connection = await dial(t, port)
  connection.send(postFor('/slow?ms=2000', 100))
  await run.line(/got/)
  run.signal('SIGTERM')
  assert.match((await connection.ended).text, /answered$/)
  assertStoppedWell(await run.ended)
})

asChildAndPid1('an answer that its client does not read is abandoned, without exit code 124', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1, drain: { lingerMs: 300 } })
  const reader = connectTcp({ port, host: '127.0.0.1' }).pause()
  t.after(() => reader.destroy())
  reader.write(requestFor(`/large?ms=0&bytes=${30 * 2 ** 20}`))
  await run.line(/got/)
  run.signal('SIGTERM')
  assertGivenUp(await run.ended, 'GET /large')
})

test('HTTP/2: an answer that its client does not read is abandoned, without exit code 124', async (t) => {
  const run = start(t, 'servers/http2.js', { args: [JSON.stringify({ drain: { lingerMs: 300 } })] })
  const session = connectHttp2(`http://127.0.0.1:${await run.port()}`, { settings: { initialWindowSize: 0 } })
  t.after(() => session.destroy())
  session.on('error', () => {})
  const stream = session.request({ ':path': '/slow?ms=0' })
  stream.on('error', () => {})
  await once(stream, 'response')
  run.signal('SIGTERM')
  assertGivenUp(await run.ended, 'GET /slow')
})

test('HTTP/2: an answer that its client does not read is abandoned, even if the client sends PINGs', async (t) => {
  const run = start(t, 'servers/http2.js', { args: [JSON.stringify({ drain: { lingerMs: 300 } })] })
  const connection = await dial(t, await run.port(), { stays: true })
  const noWindow = frame({ type: 4, payload: '\0\u0004\0\0\0\0' })
  const request = frame({ type: 1, flags: 5, stream: 1, payload: '\u0082\u0086\u0004\u000a/slow?ms=0\u0001\u0001x' })
  connection.send(`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${noWindow}${request}`)
  await run.line(/got/)
  const timer = setInterval(() => connection.send(frame({ type: 6, payload: 'whenever' })), 50)
  t.after(() => clearInterval(timer))
  run.signal('SIGTERM')
  assertGivenUp(await run.ended, 'GET /slow')
})

test('a client that pipelines, and stops in its last request, is reported once', async (t) => {
  const { run, port } = await startServer(t, { drain: { lingerMs: 200 } })
  const connection = await dial(t, port, { stays: true })
  connection.send(requestFor('/'))
  await connection.received(/answered/)
  run.signal('SIGTERM')
  await waitUntilRefused(port)
  connection.send(requestFor('/slow?ms=600') + postFor('/upload', 100) + 'some')
  assert.match((await connection.ended).text, /answered[^]*answeredHTTP\/1\.1 503 /)
  const ended = await run.ended
  assertGivenUp(ended, 'POST /upload', reportIn(ended).connections.drained) // what has dialled until it was refused
})

test('a request that is stuck at the deadline does not cause exit code 124', async (t) => {
  const { run, port } = await startServer(t, { configure: { gracePeriodMs: 2000 } })
  const connection = await dial(t, port, { stays: true })
  connection.send(postFor('/upload', 100) + 'some')
  await run.line(/got/)
  run.signal('SIGTERM')
  assertGivenUp(await run.ended, 'POST /upload')
})

asChildAndPid1(
  'a request that takes all the time does not keep WebSockets from being closed with 1001',
  async (t, pid1) => {
    const options = { way: 'server', handedOver: true, configure: { gracePeriodMs: 2500 }, drain: { endlessMs: 500 } }
    const run = start(t, 'servers/websocket.js', { pid1, args: [JSON.stringify(options)] })
    const port = await run.port()
    const busy = await dial(t, port)
    busy.send(requestFor('/never?ms=0'))
    const socket = new WebSocket(`ws://127.0.0.1:${port}/socket`)
    t.after(() => socket.terminate())
    await once(socket, 'open')
    const stream = await dial(t, port)
    stream.send(requestFor('/events?ms=0'))
    await stream.received(/data: 1/)
    const code = once(socket, 'close').then(([closeCode]) => Number(closeCode))
    run.signal('SIGTERM')
    assert.equal(await code, 1001)
    assert.match((await stream.ended).text, /\r\n0\r\n\r\n$/)
    assert.match((await busy.ended).text, /^HTTP\/1\.1 503 /)
    const ended = await run.ended
    assertEnded(ended, 124)
    assert.deepEqual(reportIn(ended).connections, { drained: 0, ended: 2, cut: 1 })
  },
)

for (const [name, isTls] of [
  ['bytes of a TLS record that is never complete', true],
  ['urgent data of TCP', false],
] as const) {
  test(`a connection that is never idle does not delay the stop: ${name}`, async (t) => {
    const { run, port } = await startServer(t, { tls: isTls, drain: { lingerMs: 300 } })
    const raw = connectTcp({ port, host: '127.0.0.1' })
    await once(raw, 'connect')
    t.after(() => raw.destroy())
    raw.on('error', () => {})
    const connection = await dial(t, port, isTls ? { tls: true, over: raw } : {})
    connection.send(requestFor('/'))
    await connection.received(/answered/)
    const stop = isTls ? trickle(raw) : await sendUrgentData(t, port)
    run.signal('SIGTERM')
    const ended = await run.ended
    stop()
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 3500 })
  })
}

test("whileDraining: 'refuse': a request gets its 503, however slowly its body arrives", async (t) => {
  const { run, port } = await startServer(t, { drain: { whileDraining: 'refuse', lingerMs: 1000, endlessMs: 300 } })
  const connection = await dial(t, port, { stays: true })
  connection.send(requestFor('/'))
  await connection.received(/answered/)
  run.signal('SIGTERM')
  await waitUntilRefused(port)
  connection.send(postFor('/', 1000))
  await connection.received(/ 503 /)
  const timer = setInterval(() => connection.send('x'), 50)
  const ended = await run.ended
  clearInterval(timer)
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 3000 })
  assert.equal(reportIn(ended).connections.cut, 0)
})

asChildAndPid1('an event stream that its client does not read is closed after endlessMs', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1, drain: { lingerMs: 300, endlessMs: 1000 } })
  const reader = connectTcp({ port, host: '127.0.0.1' }).pause()
  t.after(() => reader.destroy())
  reader.write(requestFor('/events-too-many?ms=1000'))
  await run.line(/got/)
  await wait(200) // until the kernel takes no more
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { over: 950, under: 1700 })
  assert.deepEqual(reportIn(ended).connections, { drained: 0, ended: 1, cut: 0 })
})

asChildAndPid1('a very slow reader of an answer does not delay the exit for long', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1, drain: { lingerMs: 300 } })
  const reader = connectTcp({ port, host: '127.0.0.1' }).pause()
  t.after(() => reader.destroy())
  reader.write(requestFor(`/large?ms=0&bytes=${2 ** 20}`))
  await run.line(/got/)
  run.signal('SIGTERM')
  const timer = setInterval(() => reader.read(4096), 100)
  const ended = await run.ended
  clearInterval(timer)
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 3000 })
})

asChildAndPid1(
  'a forged SYN, whose connection is never made, delays the stop by a second at most',
  inNetwork({ roundTripMs: 2 }, async (t, network, pid1) => {
    const options = { host: '0.0.0.0', configure: { gracePeriodMs: 20_000 } }
    const run = start(t, 'servers/http.js', { pid1, args: [JSON.stringify(options)], inside: network.serverSide })
    const command = ['python3', '-c', forgeSyn, network.address, String(await run.port())]
    assertEnded(await start(t, '', { command, inside: network.clientSide }).ended, 0)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 1800 })
  }),
)

/** With a source address that nobody has, and leaves when the server must have answered. */
const forgeSyn = `
import socket, struct, sys, time
source, target, port = socket.inet_aton('192.0.2.77'), socket.inet_aton(sys.argv[1]), int(sys.argv[2])
tcp = lambda check: struct.pack('!HHIIBBHHH', 12345, port, 1, 0, 5 << 4, 2, 65535, check, 0)
total = sum(struct.unpack('!16H', source + target + struct.pack('!BBH', 0, 6, 20) + tcp(0)))
total = (total >> 16) + (total & 0xffff)
total += total >> 16
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 40, 1, 0, 64, 6, 0, source, target)
raw.sendto(ip + tcp(~total & 0xffff), (sys.argv[1], 0))
time.sleep(0.1)`

/** The beginning of a record of 16 KB, then a byte of it every 50 ms, behind the back of TLS. */
function trickle(raw: Socket): () => void {
  raw.write(Buffer.from([0x17, 0x03, 0x03, 0x40, 0x00]))
  const timer = setInterval(() => raw.write('x'), 50)
  return () => clearInterval(timer)
}

/** On an idle connection of its own; Node cannot send it. */
async function sendUrgentData(t: TestContext, port: number): Promise<() => void> {
  const program = `
import socket, time
client = socket.create_connection(('127.0.0.1', ${port}))
client.sendall(b'GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n')
client.recv(1000)
print('ready', flush=True)
try:
  while True:
    client.send(b'!', socket.MSG_OOB)
    time.sleep(0.05)
except OSError:
  pass`
  const run = start(t, '', { command: ['python3', '-c', program] })
  await run.line(/ready/)
  return () => {}
}

interface Frame {
  readonly type: number
  readonly payload: string
  readonly flags?: number
  readonly stream?: number
}

/** A frame of HTTP/2. */
function frame({ type, payload, flags = 0, stream = 0 }: Frame): string {
  return String.fromCharCode(0, 0, payload.length, type, flags, 0, 0, 0, stream) + payload
}

function assertGivenUp(ended: Ended, request: string, drained = 0): void {
  assertEnded(ended, 0)
  assert.match(
    ended.stderr,
    new RegExp(`^pid1: the server on port \\d+ ended requests whose clients stopped sending or reading: ${request}\n$`),
  )
  assertTook(ended.ms, { under: 3500 })
  assert.deepEqual(reportIn(ended).connections, { drained, ended: 1, cut: 0 })
}
