import assert from 'node:assert/strict'
import { setTimeout as wait } from 'node:timers/promises'
import { assertEnded } from './helpers/report.ts'
import { asChildAndPid1, asPid1, type Ended, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  asChildAndPid1(`${signal} while a later import still runs starts a shutdown`, async (t, pid1) => {
    const run = start(t, 'core/start-up.js', { pid1 })
    await run.line(/computing/)
    run.signal(signal)
    const ended = await run.ended
    // Nothing was registered, so an ordinary process has its default action; PID 1 has none, so it must not be lost.
    if (!pid1) return assertEndedBy(ended, signal, 'computing\n')
    assertEnded(ended, 0)
    assert.equal(ended.stdout, `computing\nready\nsecond hook runs\nhook runs: ${signal}\n`)
    assert.equal(ended.stderr, '')
  })

  asPid1(`${signal} before this package was imported starts a shutdown`, async (t) => {
    const run = start(t, 'core/start-up-import-last.js', { pid1: true })
    await run.line(/computing/)
    run.signal(signal)
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.equal(ended.stdout, `computing\nready\nhook runs: ${signal}\n`)
  })
}

asChildAndPid1('a signal during synchronous work after the first registration starts a shutdown', async (t, pid1) => {
  const run = start(t, 'core/start-up-registered.js', { pid1 })
  await run.line(/computing/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.match(ended.stdout, /hook runs: SIGTERM/)
})

asChildAndPid1('a signal before the first registration, which follows soon, starts a shutdown', async (t, pid1) => {
  const run = start(t, 'core/start-up-connects-first.js', { pid1, env: { CONNECT_MS: '500' } })
  await run.line(/connecting/)
  run.signal('SIGTERM')
  const ended = await run.ended
  if (!pid1) return assertEndedBy(ended, 'SIGTERM', 'connecting\n')
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'connecting\ndisconnects: SIGTERM\n')
})

asChildAndPid1('a signal in a process that never registers anything ends it', async (t, pid1) => {
  const run = start(t, 'core/never-registers.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  if (!pid1) return assertEndedBy(ended, 'SIGTERM', 'ready\n')
  assertEnded(ended, 0)
  assertTook(ended.ms, { under: 5000 })
  assert.equal(ended.stderr, '')
})

for (const [way, stdout] of [
  ['on', 'ready\nthe app heard SIGTERM\nthe app has served its request\n'],
  ['once', 'ready\nthe app heard SIGTERM\nthe app has served its request\n'],
  ['before', 'ready\nthe app heard SIGTERM\nthe app has served its request\n'],
  ['late', 'ready\nthe app listens\nthe app heard SIGTERM\nthe app has served its request\n'],
] as const) {
  asPid1(
    `a signal that the app handles itself does not end a process that never registers anything: ${way}`,
    async (t) => {
      const run = start(t, 'core/never-registers.js', { pid1: true, args: [way] })
      await run.line(/ready/)
      run.signal('SIGTERM')
      if (way === 'once') {
        await run.line(/the app heard/)
        await wait(1100)
        run.signal('SIGTERM') // some platforms send it again
      }
      const ended = await run.ended
      assertEnded(ended, 3)
      assert.equal(ended.stdout, stdout)
      assert.equal(ended.stderr, '')
    },
  )
}

asPid1('a signal that the app has handled itself does not delay its exit', async (t) => {
  const run = start(t, 'core/never-registers.js', { pid1: true, args: ['leaves'] })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assertTook(ended.ms, { under: 900 })
})

asPid1('two signals before the first registration start one shutdown', async (t) => {
  const run = start(t, 'core/start-up-connects-first.js', { pid1: true, env: { CONNECT_MS: '500' } })
  await run.line(/connecting/)
  run.signal('SIGTERM')
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'connecting\ndisconnects: SIGTERM\n')
})

asChildAndPid1('importing listens to no signal, but as PID 1 to SIGTERM and SIGINT', async (t, pid1) => {
  const ended = await start(t, 'core/listeners.js', { pid1 }).ended
  assertEnded(ended, 0)
  const { before, imported, registered, registeredTwice } = JSON.parse(ended.stdout) as Record<
    string,
    Record<string, number>
  >
  // Only the import can see which code registers a listener.
  const watched = { ...before, newListener: 1 + (before?.newListener ?? 0) }
  assert.deepEqual(imported, pid1 ? { ...watched, SIGTERM: 1, SIGINT: 1 } : watched)
  assert.deepEqual(registeredTwice, registered)
  const stopSignals = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGPWR']
  const fatalSignals = ['SIGUSR2', 'SIGALRM', 'SIGVTALRM', 'SIGIO', 'SIGSTKFLT', 'SIGXCPU']
  const signals = Object.keys(registered ?? {}).filter((event) => event.startsWith('SIG'))
  assert.deepEqual(signals.toSorted(), [...stopSignals, ...(pid1 ? [...fatalSignals, 'SIGCHLD'] : [])].toSorted())
  assert.equal('uncaughtException' in (registered ?? {}), true)
  assert.equal('unhandledRejection' in (registered ?? {}), false)
})

function assertEndedBy(ended: Ended, signal: NodeJS.Signals, stdout: string): void {
  assert.deepEqual([ended.code, ended.signal, ended.stdout], [null, signal, stdout], ended.stderr)
}
