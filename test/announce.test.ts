import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { saysClose } from './helpers/answers.ts'
import { ask, dial, waitUntilRefused } from './helpers/connection.ts'
import { startServer } from './helpers/http-server.ts'
import { assertEnded, assertStoppedWell, hookReport, outcomes, reportIn, stop } from './helpers/report.ts'
import { asChildAndPid1, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

for (const stage of ['announce', 'intake'] as const) {
  const refuses = stage === 'intake'
  asChildAndPid1(
    `a hook of ${stage} that deregisters the instance ${refuses ? 'is too late: dials are refused' : 'lets no dial be refused'}`,
    async (t, pid1) => {
      const registry = await startRegistry(t)
      const run = start(t, 'servers/registered.js', { pid1, args: [JSON.stringify({ registry: registry.url, stage })] })
      const port = await run.port()
      const refused = dialWhile(t, port, () => registry.hasTarget)
      await dial(t, port).then(ask)
      run.signal('SIGTERM')
      assert.equal((await refused) > 0, refuses)
      const ended = await run.ended
      assertStoppedWell(ended)
      assert.deepEqual(outcomes(ended)['registry'], 'done')
      // The intake begins behind the stage.
      const { stages } = reportIn(ended)
      if (!refuses)
        assertTook(stages.find(({ name }) => name === 'announce')?.durationMs ?? 0, { over: deregisterMs - 20 })
    },
  )

  /** Dials and asks as long as the registry has the instance. Returns how often that was refused. */
  async function dialWhile(t: TestContext, port: number, isWanted: () => boolean): Promise<number> {
    let refused = 0
    while (isWanted()) {
      await dial(t, port).then(ask, ({ code }: NodeJS.ErrnoException) => {
        assert.equal(code, 'ECONNREFUSED')
        refused++
      })
      await wait(5)
    }
    return refused
  }
}

asChildAndPid1('a hook of announce that hangs is cut at half of the time', async (t, pid1) => {
  const env = { OPTIONS: JSON.stringify({ gracePeriodMs: 2000 }) }
  const args = [
    ['hanging', 'hangs', { stage: 'announce' }],
    ['next', 0, { stage: 'intake' }],
  ].map((hook) => JSON.stringify(hook))
  const ended = await stop(start(t, 'core/hooks.js', { pid1, env, args }))
  assertEnded(ended, 124)
  assert.match(ended.stderr, /^pid1: the hook "hanging" was cut after \d+ ms\n$/)
  assertTook(hookReport(ended, 'hanging').durationMs, { over: 850, under: 1000 })
  assert.equal(outcomes(ended)['next'], 'done')
})

test('without hooks and delay the stage announce takes no turn of the event loop', async (t) => {
  const ended = await start(t, 'core/announce-nothing.js').ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'intake\nshutdown() has returned\n')
})

const delayMs = 1600

asChildAndPid1('during a drain delay the connections say close one after the other (HTTP/1)', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1, drain: { drainDelayMs: delayMs } })
  const connections = await Promise.all(Array.from({ length: 40 }, () => dial(t, port)))
  for (const connection of connections) await ask(connection)
  run.signal('SIGTERM')
  const signalAt = performance.now()
  const told = connections.map(async (connection) => {
    for (;;) {
      connection.send('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
      const answer = await connection.received(/answered$/)
      if (saysClose(answer.input)) break
      await wait(10)
    }
    const at = performance.now() - signalAt
    assert.equal((await connection.ended).how, 'FIN')
    return at
  })
  assertIsEven(await Promise.all(told))
  await waitUntilRefused(port)
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.equal(reportIn(ended).connections.drained, 40)
})

asChildAndPid1('during a drain delay the sessions get GOAWAY one after the other (HTTP/2)', async (t, pid1) => {
  const run = start(t, 'servers/http2.js', { pid1, args: [JSON.stringify({ drain: { drainDelayMs: delayMs } })] })
  const port = await run.port()
  const sessions = Array.from({ length: 20 }, () => connect(`http://127.0.0.1:${port}`))
  await Promise.all(sessions.map((session) => once(session, 'remoteSettings')))
  run.signal('SIGTERM')
  const signalAt = performance.now()
  const told = sessions.map(async (session) => {
    const at = once(session, 'goaway').then(() => performance.now() - signalAt)
    const closed = once(session, 'close')
    while (!session.closed && !session.destroyed) {
      const stream = session.request({ ':path': '/' }).resume()
      const [headers] = await once(stream, 'response')
      assert.equal((headers as { ':status': number })[':status'], 200)
      await wait(10)
    }
    await closed
    return at
  })
  assertIsEven(await Promise.all(told))
  assertStoppedWell(await run.ended)
})

/** Half of the connections were told to close in the first half of the delay, and none was told at once. */
function assertIsEven(times: number[]): void {
  const early = times.filter((ms) => ms < delayMs / 2).length
  assert.ok(
    early > times.length * 0.25 && early < times.length * 0.75,
    `${early} of ${times.length}: ${times.join(' ')}`,
  )
  assert.ok(Math.max(...times) > delayMs * 0.75, times.join(' '))
}

const deregisterMs = 600

/** A registry that takes a while to take an instance out. */
async function startRegistry(t: TestContext) {
  const registry = { url: '', hasTarget: true }
  const server = createServer((request, response) => {
    assert.equal(request.method, 'DELETE')
    void wait(deregisterMs).then(() => {
      registry.hasTarget = false
      response.end()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  registry.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return registry
}
