import assert from 'node:assert/strict'
import { connect } from 'node:net'
import type { TestContext } from 'node:test'
import { type Connection, dial, waitUntilRefused } from './helpers/connection.ts'
import { assertEnded, assertStoppedWell, complaints, reportIn } from './helpers/report.ts'
import { asChildAndPid1, type Run, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

for (const tls of [false, true]) {
  const what = tls ? 'tls' : 'net'

  asChildAndPid1(`${what}: without goodbye a connection is served until its client ends it`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { tls })
    const connection = await dial(t, port, { tls })
    await ask(connection, 'first')
    run.signal('SIGTERM')
    await waitUntilRefused(port)
    await ask(connection, 'second')
    connection.send('quit\n')
    assert.match((await connection.ended).text, /bye\n$/)
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 1500 })
    const { drained, ...others } = reportIn(ended).connections
    assert.ok(drained >= 1) // those that tried whether the server still accepts are counted too
    assert.deepEqual(others, { ended: 0, cut: 0 })
  })

  asChildAndPid1(`${what}: goodbye is said on each connection, and the client may go in its time`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { tls, goodbye: 'says', drain: { endlessMs: 3000 } })
    const connections = await Promise.all(Array.from({ length: 20 }, () => dial(t, port, { tls })))
    run.signal('SIGTERM')
    for (const connection of connections) await connection.received(/^BYE\n/)
    await assert.rejects(dial(t, port, { tls }), { code: 'ECONNREFUSED' })
    for (const connection of connections) {
      await ask(connection, 'last words')
      connection.end()
    }
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 2000 })
    assert.deepEqual(reportIn(ended).connections, { drained: 0, ended: 20, cut: 0 })
  })

  asChildAndPid1(`${what}: a client that stays is closed endlessMs after its goodbye`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { tls, goodbye: 'says', drain: { endlessMs: 500 } })
    const connection = await dial(t, port, { tls })
    await ask(connection, 'first')
    run.signal('SIGTERM')
    assert.equal((await connection.ended).how, 'FIN')
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { over: 480, under: 1500 })
    assert.deepEqual(reportIn(ended).connections, { drained: 0, ended: 1, cut: 0 })
  })
}

asChildAndPid1(
  'net: without goodbye a client that stays is closed when the time is up, with a line',
  async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { configure: { gracePeriodMs: 1500 } })
    const connection = await dial(t, port)
    await ask(connection, 'first')
    run.signal('SIGTERM')
    assert.equal((await connection.ended).how, 'FIN')
    const ended = await run.ended
    assertEnded(ended, 0)
    assertTook(ended.ms, { over: 700, under: 1500 })
    assert.match(
      ended.stderr,
      /^pid1: the server on port \d+ closed 1 connection when the time was up: let clients know with the option goodbye, or set endlessMs\n$/,
    )
    assert.deepEqual(reportIn(ended).connections, { drained: 0, ended: 1, cut: 0 })
  },
)

asChildAndPid1('net: endlessMs without goodbye is the time that clients have', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, { drain: { endlessMs: 400 } })
  const connection = await dial(t, port)
  run.signal('SIGTERM')
  assert.equal((await connection.ended).how, 'FIN')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { over: 380, under: 1500 })
})

for (const goodbye of ['throws', 'rejects']) {
  asChildAndPid1(`net: a goodbye that ${goodbye} is a line, and the connection is closed`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { goodbye, drain: { endlessMs: 200 } })
    const connection = await dial(t, port)
    run.signal('SIGTERM')
    assert.equal((await connection.ended).how, 'FIN')
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.match(complaints(ended).join('\n'), /^pid1: goodbye failed: Error: of goodbye$/)
  })
}

asChildAndPid1('net: goodbye is said evenly over spreadMs', async (t, pid1) => {
  const options = { goodbye: 'ends', drain: { spreadMs: 1200 }, configure: { gracePeriodMs: 8000 } }
  const { run, port } = await startServer(t, pid1, options)
  const connections = await Promise.all(Array.from({ length: 90 }, () => dial(t, port)))
  run.signal('SIGTERM')
  await run.line(/^stopping$/m)
  const beganAt = performance.now()
  const times = await Promise.all(connections.map(({ ended }) => ended.then(() => performance.now() - beganAt)))
  const thirds = [0, 1, 2].map((third) => times.filter((ms) => Math.min(2, Math.floor(ms / 400)) === third).length)
  for (const count of thirds) assert.ok(count > 15 && count < 45, `In each third: ${thirds.join(', ')}`)
  assertStoppedWell(await run.ended)
})

asChildAndPid1('net: what clients ask on connections that they have just made is answered', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, { ms: 3, goodbye: 'says', drain: { endlessMs: 2000 } })
  const clients = Array.from({ length: 50 }, () => keepAsking(port))
  await run.line(/listening/)
  await new Promise((resolve) => void setTimeout(resolve, 300))
  run.signal('SIGTERM')
  const results = await Promise.all(clients)
  assertStoppedWell(await run.ended)
  assert.equal(
    results.reduce((sum, { lost }) => sum + lost, 0),
    0,
  )
  assert.ok(results.reduce((sum, { answered }) => sum + answered, 0) > 100)
})

asChildAndPid1("net: the app's own close waits for the drain", async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, { closes: true })
  const connection = await dial(t, port)
  run.signal('SIGTERM')
  await waitUntilRefused(port)
  await ask(connection, 'still there')
  connection.end()
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.match(ended.stdout, /stopping\nclosed\nhook\n/)
})

asChildAndPid1('net: afterDrain is called when the last connection has closed', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, { afterDrain: true, goodbye: 'ends' })
  await dial(t, port)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.match(ended.stdout, /afterDrain SIGTERM\nhook\n/)
})

asChildAndPid1('net: drainDelayMs keeps the server open', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, { drain: { drainDelayMs: 700 }, goodbye: 'ends' })
  run.signal('SIGTERM')
  await run.line(/^stopping$/m)
  await ask(await dial(t, port), 'during the delay')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { over: 680 })
})

async function startServer(t: TestContext, pid1: boolean, options: object): Promise<{ run: Run; port: number }> {
  const run = start(t, 'servers/net.js', { pid1, args: [JSON.stringify(options)] })
  return { run, port: await run.port() }
}

async function ask(connection: Connection, line: string): Promise<void> {
  connection.send(`${line}\n`)
  await connection.received(new RegExp(`answer to ${line}\n`))
}

/** Asks on one new connection after the other, until they are refused. A connection that was made must be answered. */
async function keepAsking(port: number): Promise<{ answered: number; lost: number }> {
  const result = { answered: 0, lost: 0 }
  for (;;) {
    const outcome = await askOnce(port)
    if (outcome === 'refused') return result
    result[outcome]++
  }
}

function askOnce(port: number): Promise<'answered' | 'lost' | 'refused'> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    let isMade = false
    let text = ''
    socket.on('connect', () => {
      isMade = true
      socket.write('question\n')
    })
    socket.on('data', (data) => {
      text += String(data)
      if (!text.includes('answer to question\n')) return
      resolve('answered')
      socket.end()
    })
    socket.on('error', () => resolve(isMade ? 'lost' : 'refused'))
    socket.on('close', () => resolve('lost'))
  })
}
