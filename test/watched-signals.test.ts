import assert from 'node:assert/strict'
import { assertEndedByWatchdog, startBlocked, stop } from './helpers/blocked.ts'
import { assertEnded } from './helpers/report.ts'
import { asChildAndPid1, asPid1, start } from './helpers/run.ts'

for (const [signal, options] of [
  ['SIGINT', {}],
  ['SIGUSR2', { signals: ['SIGUSR2'] }],
] as const) {
  asChildAndPid1(`a blocked process ends in time after ${signal}`, async (t, pid1) => {
    const run = startBlocked(t, pid1, { how: 'an endless loop', when: 'before the signal', ...options })
    assertEndedByWatchdog(await stop(run, signal), 'since before the shutdown could begin')
  })
}

for (const signal of ['SIGHUP', 'SIGQUIT', 'SIGPWR'] as const) {
  for (const way of ['it never listens', 'it has listened', 'all are removed', 'only signal-exit listens']) {
    asChildAndPid1(
      `a blocked process ends in time after ${signal}, if the app does not handle it: ${way}`,
      async (t, pid1) => {
        const ended = await stop(start(t, 'core/claimed.js', { pid1, args: [way, signal, '8000'] }), signal)
        assertEndedByWatchdog(ended, 'since before the shutdown could begin')
      },
    )
  }
}

asPid1('a blocked process ends in time after a signal that would have ended it at once elsewhere', async (t) => {
  const run = start(t, 'core/claimed.js', { pid1: true, args: ['it never listens', 'SIGUSR2', '8000'] })
  assertEndedByWatchdog(await stop(run, 'SIGUSR2'), 'since before the shutdown could begin')
})

for (const way of [
  'it listens',
  'it listened before',
  'it listens once',
  'it listens, and signal-exit comes and goes',
  'it listens while the signal waits',
]) {
  asChildAndPid1(`a signal that is the app's does not start the clock: ${way}`, async (t, pid1) => {
    const run = start(t, 'core/claimed.js', { pid1, args: [way, 'SIGHUP', '700'] })
    await run.line(/ready/)
    run.signal('SIGHUP')
    await run.line(/alive/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.equal(ended.stdout, 'ready\nthe app heard it\nalive\nhook runs\n')
  })
}
