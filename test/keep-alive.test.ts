import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { answersIn, saysClose } from './helpers/answers.ts'
import { ask, dial, requestFor, waitUntilRefused } from './helpers/connection.ts'
import { httpAndHttps, startServer } from './helpers/http-server.ts'
import { assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

asChildAndPid1('an idle server stops at once', async (t, pid1) => {
  const { run } = await startServer(t, { pid1 })
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 900 })
  assert.deepEqual(reportIn(ended).connections, { drained: 0, ended: 0, cut: 0 })
})

for (const [name, tls] of httpAndHttps) {
  asChildAndPid1(
    `${name}: a connection that has been idle for longer than lingerMs is closed at once`,
    async (t, pid1) => {
      const { run, port } = await startServer(t, { pid1, tls, drain: { lingerMs: 1500 } })
      const connection = await dial(t, port, { tls })
      await ask(connection)
      await wait(1600)
      run.signal('SIGTERM')
      const ended = await run.ended
      assertStoppedWell(ended)
      assertTook(ended.ms, { under: 1400 })
      assert.equal((await connection.ended).how, 'FIN')
      assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
    },
  )
}

test('without the native part, which tells how long a connection has been idle, it counts as just used', async (t) => {
  const args = [JSON.stringify({ drain: { lingerMs: 500 } })]
  const run = start(t, 'servers/http.js', { nodeArgs: ['--no-addons'], args })
  const connection = await dial(t, await run.port())
  await ask(connection)
  await wait(700)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { over: 450, under: 1500 })
  assert.equal((await connection.ended).how, 'FIN')
})

asChildAndPid1('a connection that was just used is closed when it has been idle for lingerMs', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1 })
  const connection = await dial(t, port)
  await ask(connection)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { over: 800, under: 2000 })
  assert.equal((await connection.ended).how, 'FIN')
  assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
})

for (const [where, drain, configure] of [
  ['of the server', { lingerMs: 'Infinity' }, {}],
  ['of configure', {}, { lingerMs: 'Infinity' }],
] as const) {
  asChildAndPid1(
    `lingerMs: Infinity ${where}: an idle connection stays until its next answer, which says close`,
    async (t, pid1) => {
      const { run, port } = await startServer(t, {
        pid1,
        drain,
        configure: { ...configure, gracePeriodMs: 6000 },
      })
      const connection = await dial(t, port)
      await ask(connection)
      run.signal('SIGTERM')
      await wait(2500)
      connection.send(requestFor('/'))
      assert.deepEqual(answersIn((await connection.ended).text).map(saysClose), [false, true])
      const ended = await run.ended
      assertStoppedWell(ended)
      assertTook(ended.ms, { over: 2400, under: 4500 })
      assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
    },
  )
}

asChildAndPid1('a connection that is still idle at the deadline counts as drained', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1, drain: { lingerMs: 5000 }, configure: { gracePeriodMs: 800 } })
  const connection = await dial(t, port)
  await ask(connection)
  run.signal('SIGTERM')
  assert.equal((await connection.ended).how, 'FIN')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
})

asChildAndPid1(
  'while requests arrive on connections that were idle for longer than lingerMs, the other connections stay open for longer',
  async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, drain: { lingerMs: 300, drainDelayMs: 300 } })
    const connections = await Promise.all(Array.from({ length: 8 }, () => dial(t, port)))
    for (const connection of connections) await ask(connection)
    await wait(500)
    run.signal('SIGTERM')
    await wait(150)
    connections[0]?.send(requestFor('/'))
    await waitUntilRefused(port)
    for (const connection of connections.slice(1, 6)) {
      connection.send(requestFor('/'))
      assert.deepEqual(answersIn((await connection.ended).text).map(saysClose), [false, true])
      await wait(200)
    }
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { over: 1200, under: 2000 })
    const { ended: told, cut } = reportIn(ended).connections
    assert.deepEqual({ told, cut }, { told: 0, cut: 0 })
    for (const connection of connections) assert.equal((await connection.ended).how, 'FIN')
  },
)

asChildAndPid1(
  'a request on a lingering connection is answered, and the connection is then closed',
  async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, drain: { lingerMs: 3000 } })
    const connection = await dial(t, port)
    await ask(connection)
    run.signal('SIGTERM')
    await waitUntilRefused(port)
    connection.send(requestFor('/'))
    const { text, how } = await connection.ended
    assert.deepEqual(answersIn(text).map(saysClose), [false, true])
    assert.equal(how, 'FIN')
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 2500 })
  },
)

for (const [name, tls] of httpAndHttps) {
  asChildAndPid1(`${name}: a connection without a request does not delay the stop`, async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, tls, drain: { lingerMs: 300 } })
    const connection = await dial(t, port)
    await ask(await dial(t, port, { tls })) // by then the other one is accepted too
    run.signal('SIGTERM')
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 900 })
    assert.equal((await connection.ended).how, 'FIN')
    assert.equal(reportIn(ended).connections.cut, 0)
  })

  asChildAndPid1(`${name}: connections that a browser opened in advance do not delay the stop`, async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, tls })
    const unused = await Promise.all(Array.from({ length: 5 }, () => dial(t, port, { tls })))
    run.signal('SIGTERM')
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 2000 })
    for (const connection of unused) assert.deepEqual(await connection.ended, { text: '', how: 'FIN' })
    assert.equal(reportIn(ended).connections.cut, 0)
  })
}
