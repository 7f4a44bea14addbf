import assert from 'node:assert/strict'
import { assertEnded } from './helpers/report.ts'
import { asChildAndPid1, asPid1, type Ended, start } from './helpers/run.ts'

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  asChildAndPid1(`${signal} while a later import still computes`, async (t, pid1) => {
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

  asPid1(`${signal} that came before this package was imported`, async (t) => {
    const run = start(t, 'core/start-up-import-last.js', { pid1: true })
    await run.line(/computing/)
    run.signal(signal)
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.equal(ended.stdout, `computing\nready\nhook runs: ${signal}\n`)
  })
}

asChildAndPid1('a signal while something computes, after a hook was registered', async (t, pid1) => {
  const run = start(t, 'core/start-up-registered.js', { pid1 })
  await run.line(/computing/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.match(ended.stdout, /hook runs: SIGTERM/)
})

asChildAndPid1('a signal before the first registration, which follows soon', async (t, pid1) => {
  const run = start(t, 'core/start-up-connects-first.js', { pid1, env: { CONNECT_MS: '500' } })
  await run.line(/connecting/)
  run.signal('SIGTERM')
  const ended = await run.ended
  if (!pid1) return assertEndedBy(ended, 'SIGTERM', 'connecting\n')
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'connecting\ndisconnects: SIGTERM\n')
})

asChildAndPid1('a signal where nothing is ever registered', async (t, pid1) => {
  const run = start(t, 'core/never-registers.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  if (!pid1) return assertEndedBy(ended, 'SIGTERM', 'ready\n')
  assertEnded(ended, 0)
  assert.ok(ended.ms < 5000, `left after ${ended.ms} ms`)
  assert.equal(ended.stderr, '')
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

asChildAndPid1('importing adds no listener, but as PID 1 for SIGTERM and SIGINT', async (t, pid1) => {
  const ended = await start(t, 'core/listeners.js', { pid1 }).ended
  assertEnded(ended, 0)
  const { before, imported, registered, registeredTwice } = JSON.parse(ended.stdout) as Record<string, object>
  assert.deepEqual(imported, pid1 ? { ...before, SIGTERM: 1, SIGINT: 1 } : before)
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
