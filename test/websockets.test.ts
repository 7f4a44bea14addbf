import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { io } from 'socket.io-client'
import { WebSocket } from 'ws'
import { type Connection, dial, upgradeFor } from './helpers/connection.ts'
import { assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, type Run, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

const told = { code: 1001, reason: 'shutdown' }

for (const [name, handedOver] of [
  ['of a ws server that was handed over', true],
  ['of a server that was not', false],
] as const) {
  asChildAndPid1(`1000 WebSockets ${name} are closed with 1001 and a reason, at once`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { handedOver, quiet: true })
    const sockets = await Promise.all(Array.from({ length: 1000 }, () => open(t, port)))
    run.signal('SIGTERM')
    for (const { closed } of sockets) assert.deepEqual(await closed, told)
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 2500 })
    assert.deepEqual(reportIn(ended).connections, { drained: 0, ended: 1000, cut: 0 })
  })

  for (const deflate of [false, true]) {
    const how = deflate ? ' with permessage-deflate' : ''

    asChildAndPid1(`a WebSocket ${name}${how} gets the close frame between two large messages`, async (t, pid1) => {
      const { run, port } = await startServer(t, pid1, { handedOver, deflate, floods: true })
      const { socket, closed } = await open(t, port)
      const sizes = new Set<number>()
      socket.on('message', (message: Buffer) => sizes.add(message.length))
      await once(socket, 'message')
      run.signal('SIGTERM')
      assert.deepEqual(await closed, told)
      assert.deepEqual([...sizes], [2 ** 20])
      assertStoppedWell(await run.ended)
    })

    asChildAndPid1(
      `a WebSocket ${name}${how} gets the close frame while its client sends a large message`,
      async (t, pid1) => {
        const { run, port } = await startServer(t, pid1, { handedOver, deflate })
        const { socket, closed } = await open(t, port)
        socket.send(Buffer.alloc(30 * 2 ** 20, 'some text '))
        run.signal('SIGTERM')
        assert.deepEqual(await closed, told)
        const ended = await run.ended
        assertStoppedWell(ended)
        assertTook(ended.ms, { under: 2500 })
        assert.equal(reportIn(ended).connections.ended, 1)
      },
    )
  }

  asChildAndPid1(
    `a client ${name} that ends its side with the close frame does not delay the stop`,
    async (t, pid1) => {
      const { run, port } = await startServer(t, pid1, { handedOver })
      const connection = await upgradeBy(t, port)
      run.signal('SIGTERM')
      await connection.received(/\u00e9shutdown/)
      connection.end()
      const ended = await run.ended
      assertStoppedWell(ended)
      assertTook(ended.ms, { under: 1900 })
      assert.equal(reportIn(ended).connections.cut, 0)
    },
  )

  asChildAndPid1(`a client ${name} that has ended its side before does not delay the stop`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { handedOver })
    const connection = await upgradeBy(t, port)
    connection.end()
    await run.line(/closed 1006/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 1900 })
  })
}

for (const tls of [false, true]) {
  const how = tls ? ' over https' : ''
  // In the middle of a frame a close frame would be taken for a part of what that carries.
  asChildAndPid1(`a WebSocket that a proxy pipes${how} gets the close frame between two frames`, async (t, pid1) => {
    const run = startStack(t, pid1, { stack: 'proxy', tls })
    const { socket, closed } = await open(t, await run.port(), tls)
    await once(socket, 'message')
    run.signal('SIGTERM')
    assert.deepEqual(await closed, told)
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.deepEqual(reportIn(ended).connections, { drained: 0, ended: 1, cut: 0 })
  })
}

for (const stack of ['websocket', 'crossws']) {
  asChildAndPid1(
    `a WebSocket of the library ${stack} is closed with 1001 and a reason, on both sides`,
    async (t, pid1) => {
      const run = startStack(t, pid1, { stack })
      const { closed } = await open(t, await run.port())
      await run.line(/opened/)
      run.signal('SIGTERM')
      assert.deepEqual(await closed, told)
      const ended = await run.ended
      assertStoppedWell(ended)
      assert.match(ended.stdout, /^closed 1001$/m)
      assertTook(ended.ms, { under: 900 })
    },
  )
}

// With reason "transport close" a client of Socket.IO connects again by itself, to another instance.
for (const [transport, closes] of [
  ['websocket', false],
  ['websocket', true],
  ['polling', true],
] as const) {
  const how = closes ? 'that is closed in an intake hook' : 'that nobody closes'
  asChildAndPid1(`a Socket.IO ${how} lets its clients go, by ${transport}`, async (t, pid1) => {
    const run = startStack(t, pid1, { stack: 'socket.io', closes })
    const client = io(`http://127.0.0.1:${await run.port()}`, { transports: [transport], reconnection: false })
    t.after(() => void client.close())
    const left = new Promise((resolve) => void client.once('disconnect', (reason) => resolve(reason)))
    await new Promise((resolve) => void client.once('connect', () => resolve(undefined)))
    client.emit('hello')
    await run.line(/hello/) // by then a long poll has brought something, and the next one is under way
    run.signal('SIGTERM')
    assert.match(String(await left), /^transport (close|error)$/)
    assert.equal(client.active, true)
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.match(ended.stdout, /^closed (forced|transport) close$/m)
    assertTook(ended.ms, { under: 1900 })
    assert.equal(reportIn(ended).connections.cut, 0)
  })
}

interface Client {
  readonly socket: WebSocket
  readonly closed: Promise<{ code: number; reason: string }>
}

const ways = [
  ['of a ws server that was handed over', { handedOver: true }],
  ['of a server that was not', { handedOver: false }],
  ['of a ws server without a server', { handedOver: true, way: 'noServer' }],
] as const

for (const [name, options] of ways) {
  asChildAndPid1(`WebSockets ${name} are asked to end evenly over spreadMs`, async (t, pid1) => {
    const configure = { spreadMs: 1500, gracePeriodMs: 10_000 }
    const { run, port } = await startServer(t, pid1, { ...options, configure, quiet: true })
    const sockets = await Promise.all(Array.from({ length: 300 }, () => open(t, port)))
    run.signal('SIGTERM')
    await run.line(/^stopping$/m)
    const signalledAt = performance.now()
    const times = await Promise.all(sockets.map(({ closed }) => closed.then(() => performance.now() - signalledAt)))
    const thirds = [0, 1, 2].map((third) => times.filter((ms) => Math.min(2, Math.floor(ms / 500)) === third).length)
    for (const count of thirds) assert.ok(count > 60 && count < 140, `Told in each third: ${thirds.join(', ')}`)
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { over: 1400, under: 3000 })
    assert.equal(reportIn(ended).connections.ended, 300)
  })

  asChildAndPid1(`ten WebSockets ${name} take no time, and get the closeCode`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { ...options, configure: { closeCode: 1012 } })
    const sockets = await Promise.all(Array.from({ length: 10 }, () => open(t, port)))
    run.signal('SIGTERM')
    for (const { closed } of sockets) assert.deepEqual(await closed, { code: 1012, reason: 'shutdown' })
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 900 })
  })
}

asChildAndPid1('spreadMs is a third of the time at most', async (t, pid1) => {
  const configure = { spreadMs: 60_000, gracePeriodMs: 3000 }
  const { run, port } = await startServer(t, pid1, { handedOver: true, configure, quiet: true })
  const sockets = await Promise.all(Array.from({ length: 30 }, () => open(t, port)))
  run.signal('SIGTERM')
  for (const { closed } of sockets) assert.deepEqual(await closed, told)
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { over: 500, under: 1800 })
})

async function startServer(t: TestContext, pid1: boolean, options: object): Promise<{ run: Run; port: number }> {
  const run = start(t, 'servers/websocket.js', { pid1, args: [JSON.stringify({ way: 'server', ...options })] })
  return { run, port: await run.port() }
}

function startStack(t: TestContext, pid1: boolean, options: object): Run {
  return start(t, 'servers/websocket-stacks.js', { pid1, args: [JSON.stringify(options)] })
}

async function open(t: TestContext, port: number, tls = false): Promise<Client> {
  const socket = new WebSocket(`${tls ? 'wss' : 'ws'}://127.0.0.1:${port}/`, { rejectUnauthorized: false })
  t.after(() => socket.terminate())
  const closed = once(socket, 'close').then(([code, reason]) => ({ code: Number(code), reason: String(reason) }))
  await once(socket, 'open')
  return { socket, closed }
}

async function upgradeBy(t: TestContext, port: number): Promise<Connection> {
  const connection = await dial(t, port, { stays: true })
  connection.send(upgradeFor('/'))
  await connection.received(/101 Switching/)
  return connection
}
