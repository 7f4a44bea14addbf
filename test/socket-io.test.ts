import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { io, type ManagerOptions, type Socket, type SocketOptions } from 'socket.io-client'
import { ask, dial } from './helpers/connection.ts'
import { startRedis } from './helpers/redis.ts'
import { assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, type Run, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

for (const transport of ['polling', 'websocket'] as const) {
  asChildAndPid1(`Socket.IO: 50 clients by ${transport} are asked to go, and none is waited for`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { quiet: true })
    const clients = await Promise.all(Array.from({ length: 50 }, () => connect(t, port, transport)))
    const gone = clients.map((client) => next(client, 'disconnect'))
    run.signal('SIGTERM')
    for (const reason of await Promise.all(gone)) assert.match(String(reason), /^transport (close|error)$/)
    for (const client of clients) assert.equal(client.active, true) // it connects again
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 2500 })
    assert.equal(reportIn(ended).connections.cut, 0)
  })

  asChildAndPid1(`Socket.IO: clients by ${transport} that reconnect do not hold the stop`, async (t, pid1) => {
    const options = { drain: { drainDelayMs: 1000 }, configure: { gracePeriodMs: 8000 } }
    const { run, port } = await startServer(t, pid1, options)
    const clients = await Promise.all(
      Array.from({ length: 10 }, () =>
        connect(t, port, transport, { reconnection: true, reconnectionDelay: 10, reconnectionDelayMax: 20 }),
      ),
    )
    const toldAt: number[] = []
    let stoppedAt = 0
    for (const client of clients) client.once('disconnect', () => toldAt.push(performance.now() - stoppedAt))
    run.signal('SIGTERM')
    await run.line(/^stopping$/m)
    stoppedAt = performance.now()
    for (const client of clients) await hello(client) // it serves during the delay
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { over: 950, under: 3500 })
    assert.equal(toldAt.length, 10)
    assert.ok(Math.min(...toldAt) > 900, `Told after ${Math.round(Math.min(...toldAt))} ms`)
    assert.match(ended.stdout, /disconnect [^]*hook\n/)
  })
}

asChildAndPid1('Socket.IO: the requests of the app beside it are answered', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, {})
  const client = await connect(t, port, 'polling')
  const connection = await dial(t, port)
  await ask(connection)
  connection.send('GET /slow?ms=600 HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await run.line(/got/)
  run.signal('SIGTERM')
  await hello(client) // as long as a request is unanswered nobody is asked to go
  assert.match((await connection.ended).text, /answered[^]*answered/)
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.equal(reportIn(ended).connections.cut, 0)
})

test('Socket.IO with the Redis adapter: the instance that stays goes on', async (t) => {
  const redis = await startRedis(t)
  const [first, second] = [await startServer(t, false, { redis }), await startServer(t, false, { redis })]
  const client = await connect(t, first.port, 'polling')
  const other = await connect(t, second.port, 'websocket')
  const heard = next(other, 'news')
  client.emit('to all', 'before')
  assert.equal(await heard, 'before')
  const gone = next(client, 'disconnect')
  first.run.signal('SIGTERM')
  await gone
  const ended = await first.run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 2500 })
  const heardAgain = next(other, 'news')
  other.emit('to all', 'after')
  assert.equal(await heardAgain, 'after')
})

async function startServer(t: TestContext, pid1: boolean, options: object): Promise<{ run: Run; port: number }> {
  const run = start(t, 'servers/socket-io.js', { pid1, args: [JSON.stringify(options)] })
  return { run, port: await run.port() }
}

/** Connects, and waits until a message has come back: by then a long poll is under way. */
async function connect(
  t: TestContext,
  port: number,
  transport: string,
  options: Partial<ManagerOptions & SocketOptions> = { reconnection: false },
): Promise<Socket> {
  const client = io(`http://127.0.0.1:${port}`, { transports: [transport], forceNew: true, ...options })
  t.after(() => void client.close())
  await next(client, 'connect')
  await hello(client)
  return client
}

/** What the next event of that name brings. */
function next(client: Socket, event: string): Promise<unknown> {
  return new Promise((resolve) => void client.once(event, resolve))
}

async function hello(client: Socket): Promise<void> {
  assert.match(String(await client.timeout(5000).emitWithAck('hello')), /^hello from \d+$/)
}
