import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { type AddressInfo, connect as connectTcp, createServer } from 'node:net'
import { spawnSync } from 'node:child_process'
import type { TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { type Connection, dial, requestFor, waitUntilRefused } from './helpers/connection.ts'
import { inNetwork } from './helpers/network.ts'
import { assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, asPid1, type Run, start } from './helpers/run.ts'

// Kinds of requests, and of connections, that a stop meets.
for (const [name, tls] of [
  ['http', false],
  ['https', true],
] as const) {
  for (const checksContinue of [false, true]) {
    const how = `${name}${checksContinue ? ', of an app that answers Expect itself' : ''}`

    asChildAndPid1(`${how}: a body that was asked for with 100 Continue is taken`, async (t, pid1) => {
      const { run, port } = await startServer(t, pid1, { tls, checksContinue })
      const connection = await dial(t, port, { tls })
      connection.send(postFor('/upload', 8, 'Expect: 100-continue\r\n'))
      await connection.received(/^HTTP\/1\.1 100 Continue\r\n\r\n/)
      await run.line(/got/)
      run.signal('SIGTERM')
      await waitUntilRefused(port)
      connection.send('the body')
      await assertLast(connection, /answered 8/)
      assertStoppedWell(await run.ended)
    })

    asChildAndPid1(`${how}: Expect on a connection that lingers is answered, and the body taken`, async (t, pid1) => {
      const { run, port } = await startServer(t, pid1, { tls, checksContinue, drain: { lingerMs: 3000 } })
      const connection = await dial(t, port, { tls })
      connection.send(requestFor('/'))
      await connection.received(/answered/)
      run.signal('SIGTERM')
      await waitUntilRefused(port)
      connection.send(postFor('/upload', 8, 'Expect: 100-continue\r\n'))
      await connection.received(/100 Continue\r\n\r\n/)
      connection.send('the body')
      await assertLast(connection, /answered 8/)
      assertStoppedWell(await run.ended)
    })
  }

  asChildAndPid1(`${name}: an upload in chunks is taken to its trailers`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { tls })
    const connection = await dial(t, port, { tls })
    const head = requestFor('/upload', { headers: 'Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n' })
    connection.send(`${head.replace('GET', 'POST')}4\r\nthe \r\n`)
    await run.line(/got/)
    run.signal('SIGTERM')
    await waitUntilRefused(port)
    connection.send('4\r\nbody\r\n0\r\nX-Sum: 8\r\n')
    await wait(50)
    connection.send('\r\n')
    await assertLast(connection, /answered 8/)
    assertStoppedWell(await run.ended)
  })

  asChildAndPid1(`${name}: an upload under way is taken to its end`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { tls })
    const connection = await dial(t, port, { tls })
    const chunk = 'x'.repeat(2 ** 17)
    connection.send(postFor('/upload', 16 * chunk.length))
    for (let sent = 0; sent < 16; sent++) {
      connection.send(chunk)
      await wait(30)
      if (sent === 4) await run.line(/got/).then(() => run.signal('SIGTERM'))
    }
    await assertLast(connection, new RegExp(`answered ${16 * chunk.length}`))
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
  })

  asChildAndPid1(
    `${name}: an answer that does not wait for the body reaches a client that still sends`,
    async (t, pid1) => {
      const { run, port } = await startServer(t, pid1, { tls, drain: { lingerMs: 3000 } })
      const connection = await dial(t, port, { tls })
      connection.send(requestFor('/'))
      await connection.received(/answered/)
      run.signal('SIGTERM')
      await waitUntilRefused(port)
      connection.send(postFor('/too-large', 2 ** 20))
      connection.send('x'.repeat(2 ** 16))
      await connection.received(/ 413 [^]*answered/)
      assertStoppedWell(await run.ended)
    },
  )

  // Ended before all is read, such a connection is reset, and what the kernel still has of the answer is lost.
  for (const [client, stays] of [
    ['a client that still sends', false],
    ['a client that does not stop sending', true],
  ] as const) {
    if (tls && stays) continue // it takes a second
    asChildAndPid1(`${name}: ${client} gets all of a long answer`, async (t, pid1) => {
      const { run, port } = await startServer(t, pid1, { tls })
      const connection = await dial(t, port, { tls, stays })
      connection.send(postFor('/too-large-and-long?ms=300', 2 ** 30))
      await run.line(/got/)
      const sending = setInterval(() => connection.send('x'.repeat(50_000)), 5)
      t.after(() => clearInterval(sending))
      run.signal('SIGTERM')
      const { text } = await connection.ended
      assert.match(text.slice(0, 100), / 413 /)
      assert.equal(text.length - text.indexOf('\r\n\r\n') - 4, 3 * 2 ** 20)
      const ended = await run.ended
      assertStoppedWell(ended)
      assert.equal(reportIn(ended).connections.cut, 0)
      assert.ok(ended.ms < 2900, `${ended.ms} ms`)
    })
  }

  asChildAndPid1(`${name}: HEAD is answered without a body, and told to close`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { tls })
    const connection = await dial(t, port, { tls })
    connection.send(requestFor('/slow?ms=300').replace('GET', 'HEAD'))
    await run.line(/got/)
    run.signal('SIGTERM')
    const { text, how } = await connection.ended
    assert.match(text, /^HTTP\/1\.1 200 [^]*^connection: close\r$[^]*\r\n\r\n$/im)
    assert.doesNotMatch(text, /answered/)
    assert.equal(how, 'FIN')
    assertStoppedWell(await run.ended)
  })

  // By itself Node gives up on a client that has ended its side.
  for (const [what, httpAllowHalfOpen] of [
    ['gets its answer where the server allows that', true],
    ['does not hold the server', false],
  ] as const) {
    if (tls && httpAllowHalfOpen) continue // over TLS it always does
    asChildAndPid1(`${name}: a client that has ended its side ${what}`, async (t, pid1) => {
      const { run, port } = await startServer(t, pid1, { tls, httpAllowHalfOpen })
      const connection = await dial(t, port, { tls, stays: true })
      connection.send(requestFor('/slow?ms=500'))
      await run.line(/got/)
      connection.end()
      run.signal('SIGTERM')
      if (httpAllowHalfOpen) await assertLast(connection, /answered/)
      else assert.equal((await connection.ended).how, 'FIN')
      const ended = await run.ended
      assertStoppedWell(ended)
      assert.ok(ended.ms < 2000, `${ended.ms} ms`)
    })
  }

  asChildAndPid1(`${name}: a download goes on to its end`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { tls, drain: { lingerMs: 300 } })
    const connection = await dial(t, port, { tls })
    connection.send(requestFor('/download'))
    await run.line(/got/)
    run.signal('SIGTERM')
    await connection.received(/begun, [^]*more, [^]*answered\r\n0\r\n\r\n$/)
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
  })

  asChildAndPid1(`${name}: a long poll that ends with shutdownSignal() is answered at once`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { tls, drain: { lingerMs: 300 } })
    const connection = await dial(t, port, { tls })
    connection.send(requestFor('/poll?ms=0'))
    await run.line(/got/)
    run.signal('SIGTERM')
    await connection.received(/answered: nothing new/)
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.ok(ended.ms < 1900, `${ended.ms} ms`)
  })

  asChildAndPid1(`${name}: connections that a browser made in advance do not hold the server`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { tls })
    const unused = await Promise.all(Array.from({ length: 5 }, () => dial(t, port, { tls })))
    run.signal('SIGTERM')
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.ok(ended.ms < 2000, `${ended.ms} ms`)
    for (const connection of unused) assert.deepEqual(await connection.ended, { text: '', how: 'FIN' })
    assert.equal(reportIn(ended).connections.cut, 0)
  })
}

for (const [what, bytes] of [
  ['nothing', ''],
  ['half a ClientHello', '\u0016\u0003\u0001\u0002\0\u0001\0'],
] as const) {
  asChildAndPid1(`https: a handshake of which ${what} has come does not hold the server`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { tls: true })
    const connection = await dial(t, port)
    connection.send(bytes)
    const other = await dial(t, port, { tls: true })
    other.send(requestFor('/'))
    await other.received(/answered/) // by then it has read the half one too
    run.signal('SIGTERM')
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.ok(ended.ms < 2900, `${ended.ms} ms`)
  })
}

for (const finished of [true, false]) {
  const outcome = finished ? 'that is finished during the drain gets its request answered' : 'does not hold the server'
  asChildAndPid1(`https: half a handshake ${outcome}`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { tls: true, drain: finished ? { lingerMs: 4000 } : {} })
    const gate = await startGate(t, port)
    const connection = await dial(t, gate.port, { tls: true })
    await gate.isHalf
    run.signal('SIGTERM')
    if (finished) {
      await waitUntilRefused(port)
      gate.open()
      connection.send(requestFor('/slow?ms=300'))
      await assertLast(connection, /answered/)
    }
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.equal(reportIn(ended).connections.cut, 0)
    if (!finished) assert.ok(ended.ms < 2900, `${ended.ms} ms`)
  })
}

asChildAndPid1('https: a handshake that ends during the drain gets its request answered', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, { tls: true })
  const busy = await dial(t, port, { tls: true })
  busy.send(requestFor('/slow?ms=700'))
  await run.line(/got/)
  const raw = connectTcp({ port, host: '127.0.0.1' })
  t.after(() => raw.destroy())
  await new Promise((resolve) => void raw.once('connect', () => resolve(undefined)))
  run.signal('SIGTERM')
  await waitUntilRefused(port)
  const late = await dial(t, port, { tls: true, over: raw })
  late.send(requestFor('/'))
  await assertLast(late, /answered/)
  await assertLast(busy, /answered/)
  assertStoppedWell(await run.ended)
})

// What the kernel has taken is not what the client has: when PID 1 of a container ends, its network ends too.
asChildAndPid1('a slow reader has the whole answer before the process ends', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, {})
  const bytes = 12 * 2 ** 20
  const reader = connectTcp({ port, host: '127.0.0.1' })
  t.after(() => reader.destroy())
  reader.write(requestFor(`/large?ms=200&bytes=${bytes}`))
  await run.line(/got/)
  run.signal('SIGTERM')
  const left = run.ended.then(() => undelivered(port))
  let read = 0
  for await (const chunk of reader as AsyncIterable<Buffer>) {
    read += chunk.length
    await wait(chunk.length / 10_000) // 10 MB a second
  }
  assert.ok(read > bytes, `${read} of ${bytes} bytes`)
  assert.equal(await left, '')
  assertStoppedWell(await run.ended)
})

asChildAndPid1('a client that takes nothing of its answer does not hold the process for long', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, { drain: { lingerMs: 500 } })
  const reader = connectTcp({ port, host: '127.0.0.1' }).pause()
  t.after(() => reader.destroy())
  reader.write(requestFor(`/large?ms=0&bytes=${2 ** 20}`))
  await run.line(/got/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.ok(ended.ms > 400 && ended.ms < 2900, `${ended.ms} ms`)
  assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
})

asPid1(
  'a client far away that reads slowly has the whole answer, though the network ends with the process',
  inNetwork({ roundTripMs: 40 }, async (t, network) => {
    const run = start(t, 'servers/http.js', {
      pid1: true,
      args: [JSON.stringify({ host: '0.0.0.0' })],
      inside: network.serverSide,
    })
    const port = await run.port()
    const bytes = 5 * 2 ** 20
    const command = [
      process.execPath,
      '-e',
      slowReader,
      network.address,
      String(port),
      requestFor(`/large?ms=0&bytes=${bytes}`),
    ]
    const reader = start(t, '', { command, inside: network.clientSide })
    await run.line(/got/)
    run.signal('SIGTERM')
    assertStoppedWell(await run.ended)
    const [program = '', ...args] = network.serverSide
    const route = ['ip', 'route', 'add', 'blackhole', `${network.clientAddress}/32`]
    assert.equal(spawnSync(program, [...args, ...route]).status, 0)
    const { stdout, stderr } = await reader.ended
    assert.equal(stdout, `${bytes}\n`, stderr)
  }),
)

// Reads about 5 MB a second, and says how much it was behind the head.
const slowReader = `
  const [host, port, request] = process.argv.slice(1)
  const socket = require('node:net').connect(Number(port), host)
  socket.setTimeout(5000, () => socket.destroy()).write(request)
  void (async () => {
    let bytes = 0, headEnd = 0
    for await (const chunk of socket) {
      if (headEnd === 0) headEnd = chunk.indexOf('\\r\\n\\r\\n') + 4
      bytes += chunk.length
      await require('node:timers/promises').setTimeout(chunk.length / 5000)
    }
    console.log(bytes - headEnd)
  })()`

/** The connections of a port that are closed, while something of what was sent is still on its way. */
function undelivered(port: number): string {
  const { status, stdout, stderr } = spawnSync('ss', ['-Htn', 'state', 'fin-wait-1', `( sport = :${port} )`], {
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
  return stdout
}

/** Stands before a server, and holds back what a client sends behind its first words, until it is opened. */
async function startGate(
  t: TestContext,
  port: number,
): Promise<{ port: number; isHalf: Promise<unknown>; open: () => void }> {
  const turns = new EventEmitter()
  const isHalf = once(turns, 'half')
  const gate = createServer((client) => {
    const server = connectTcp(port, '127.0.0.1')
    t.after(() => [client, server].forEach((socket) => socket.destroy()))
    for (const socket of [client, server]) socket.on('error', () => {})
    server.pipe(client)
    server.once('data', () => turns.emit('half'))
    client.once('data', (hello) => {
      client.pause()
      server.write(hello)
      turns.once('open', () => client.pipe(server))
    })
  })
  t.after(() => gate.close())
  await new Promise<void>((resolve) => void gate.listen(0, '127.0.0.1', () => resolve()))
  return { port: (gate.address() as AddressInfo).port, isHalf, open: () => void turns.emit('open') }
}

async function startServer(t: TestContext, pid1: boolean, options: object): Promise<{ run: Run; port: number }> {
  const run = start(t, 'servers/http.js', { pid1, args: [JSON.stringify(options)] })
  return { run, port: await run.port() }
}

function postFor(path: string, length: number, headers = ''): string {
  return requestFor(path, { headers: `Content-Length: ${length}\r\n${headers}` }).replace('GET', 'POST')
}

/** The last answer on this connection: it says so, and the connection ends in good order. */
async function assertLast(connection: Connection, body: RegExp): Promise<void> {
  const { text, how } = await connection.ended
  const last = text.slice(text.lastIndexOf('HTTP/1.1 200'))
  assert.match(last, body)
  assert.match(last, /^connection: close\r$/im)
  assert.equal(how, 'FIN')
}
