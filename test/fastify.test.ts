import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { environment } from 'pid1'
import { dial, requestFor, waitUntilRefused } from './helpers/connection.ts'
import { startClients } from './helpers/load.ts'
import { assertEnded, assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, type Run, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

const hooks = ['preClose', 'onClose', 'onClose is over']

asChildAndPid1('an idle Fastify app stops at once, and its hooks run', async (t, pid1) => {
  const { run } = await startApp(t, pid1)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 900 })
  assert.deepEqual(hooksIn(ended.stdout), hooks)
})

asChildAndPid1('a request in flight is served before the hooks run', async (t, pid1) => {
  const { run, port } = await startApp(t, pid1)
  const connection = await dial(t, port)
  connection.send(requestFor('/slow?ms=600'))
  await run.line(/got/)
  run.signal('SIGTERM')
  const { text, how } = await connection.ended
  assert.match(text, /^HTTP\/1\.1 200 [^]*answered$/)
  assert.match(text, /^connection: close\r$/im)
  assert.equal(how, 'FIN')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 1500 })
  assert.deepEqual(hooksIn(ended.stdout), hooks)
  assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
})

asChildAndPid1('an afterDrain of the app is called before the hooks', async (t, pid1) => {
  const { run } = await startApp(t, pid1, { afterDrain: true })
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.match(ended.stdout, /^afterDrain$[^]*^preClose$/m)
  assert.deepEqual(hooksIn(ended.stdout), hooks)
})

asChildAndPid1('a request on a connection that lingers is served, not answered 503', async (t, pid1) => {
  const { run, port } = await startApp(t, pid1, { drain: { lingerMs: 3000 } })
  const connection = await dial(t, port)
  connection.send(requestFor('/'))
  await connection.received(/answered/)
  run.signal('SIGTERM')
  await waitUntilRefused(port)
  connection.send(requestFor('/'))
  const { text } = await connection.ended
  assert.deepEqual(text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 200'])
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.deepEqual(hooksIn(ended.stdout), hooks)
})

asChildAndPid1('an onClose hook gets the remaining time', async (t, pid1) => {
  const { run } = await startApp(t, pid1, { onCloseMs: 500, configure: { gracePeriodMs: 2000 } })
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { over: 450, under: 1400 })
  assert.deepEqual(hooksIn(ended.stdout), hooks)
})

asChildAndPid1('an onClose hook that hangs is cut in time, with 124', async (t, pid1) => {
  const { run } = await startApp(t, pid1, { onCloseMs: 1e6, configure: { gracePeriodMs: 1000 } })
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 124)
  assertTook(ended.ms, { over: 600, under: 1000 })
  assert.deepEqual(hooksIn(ended.stdout), ['preClose', 'onClose'])
  assert.match(ended.stderr, /^pid1: the server on port \d+ .*\n$/)
  const { connections, exitCode } = reportIn(ended)
  assert.deepEqual({ connections, exitCode }, { connections: { drained: 0, ended: 0, cut: 0 }, exitCode: 124 })
})

asChildAndPid1('a request that never ends is cut so early that the hooks still run', async (t, pid1) => {
  const { run, port } = await startApp(t, pid1, { configure: { gracePeriodMs: 1000 } })
  const connection = await dial(t, port)
  connection.send(requestFor('/never?ms=0'))
  await run.line(/got/)
  run.signal('SIGTERM')
  assert.match((await connection.ended).text, /^HTTP\/1\.1 503 /)
  const ended = await run.ended
  assertEnded(ended, 124)
  assertTook(ended.ms, { under: 1000 })
  assert.match(ended.stderr, /^pid1: the server on port \d+ did not answer in time: GET \/never\n$/)
  assert.deepEqual(hooksIn(ended.stdout), hooks)
  assert.equal(reportIn(ended).connections.cut, 1)
})

for (const tls of [false, true]) {
  asChildAndPid1(`on localhost both addresses are drained as one${tls ? ', over https' : ''}`, async (t, pid1) => {
    const { run, port } = await startApp(t, pid1, { host: 'localhost', tls })
    const first = await dial(t, port, { host: '127.0.0.1', tls })
    const second = await dial(t, port, { host: '127.0.0.2', tls })
    first.send(requestFor('/slow?ms=300'))
    second.send(requestFor('/slow?ms=800'))
    await run.line(/(got[^]*){2}/)
    run.signal('SIGTERM')
    for (const { ended } of [first, second]) {
      const { text, how } = await ended
      assert.match(text, /^HTTP\/1\.1 200 [^]*answered$/)
      assert.match(text, /^connection: close\r$/im)
      assert.equal(how, 'FIN')
    }
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 1700 })
    assert.deepEqual(hooksIn(ended.stdout), hooks)
    assert.deepEqual(reportIn(ended).connections, { drained: 2, ended: 0, cut: 0 })
  })
}

asChildAndPid1(
  'a server of its own with the same handler, and one that listens later, are drained as one',
  async (t, pid1) => {
    const run = start(t, 'servers/one-handler.js', { pid1 })
    const [, first, second] = await run.line(/ports (\d+) (\d+)/)
    const connections = await Promise.all([dial(t, Number(first)), dial(t, Number(second), { tls: true })])
    for (const [at, connection] of connections.entries()) connection.send(requestFor(`/slow?ms=${300 + 400 * at}`))
    await run.line(/(got[^]*){2}/)
    run.signal('SIGTERM')
    for (const { ended } of connections) assert.match((await ended).text, /^HTTP\/1\.1 200 [^]*answered$/)
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.match(ended.stdout, /got[^]*late[^]*afterDrain after 2\n/)
    assert.equal(ended.stdout.match(/afterDrain/g)?.length, 1)
    assert.deepEqual(reportIn(ended).connections, { drained: 2, ended: 0, cut: 0 })
  },
)

const load = { clients: 200, thinkMs: 5 }

asChildAndPid1('200 busy clients lose nothing, and none is answered 503', async (t, pid1) => {
  const { run, port } = await startApp(t, pid1)
  const clients = await startClients(t, port, load)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.deepEqual(hooksIn(ended.stdout), hooks)
  const counted = await clients.counted
  const { answered, lost, lostOnNew, statuses } = counted
  const all = JSON.stringify(counted)
  assert.deepEqual({ lost: lost - lostOnNew, statuses }, { lost: 0, statuses: { 200: answered } }, all)
  assert.ok(lostOnNew <= (environment().native ? 0 : 1), all) // see alone/lost-requests.test.ts
})

void test('200 busy clients are answered 503 by a bare app.close(), or lose some', async (t) => {
  const run = start(t, 'servers/fastify.js', { env: { PID1_DISABLE: '1' } })
  const port = await run.port()
  const clients = await startClients(t, port, load)
  run.signal('SIGTERM')
  await waitUntilRefused(port)
  clients.stop()
  const { lost, statuses } = await clients.counted
  assert.ok(lost + (statuses[503] ?? 0) > 0, JSON.stringify({ lost, statuses }))
})

async function startApp(t: TestContext, pid1: boolean, options: object = {}): Promise<{ run: Run; port: number }> {
  const run = start(t, 'servers/fastify.js', { pid1, args: [JSON.stringify(options)] })
  return { run, port: await run.port() }
}

/** Fastify's hooks, as the app says them. */
function hooksIn(stdout: string): string[] {
  return stdout.split('\n').filter((line) => hooks.includes(line))
}
