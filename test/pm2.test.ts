import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertStoppedWell, reportIn } from './helpers/report.ts'
import { type Ended, start } from './helpers/run.ts'

for (const [mode, env] of [
  ['cluster_mode', {}],
  ['fork_mode', { shutdown_with_message: 'true' }],
  ['fork_mode', { PM2_KILL_USE_MESSAGE: '1' }],
] as const) {
  const name = [mode, ...Object.keys(env)].join(' with ')

  test(`${name}: the message "shutdown" stops the service, which has all of kill_timeout but one margin`, async (t) => {
    const ended = await start(t, 'core/pm2.js', { args: [mode, 'shutdown'], env }).ended
    assertStopped(ended, 'message "shutdown" of PM2')
    const { startedAt, deadline, gracePeriodMs } = reportIn(ended)
    assert.equal(gracePeriodMs, 20_000)
    assert.ok(Math.abs(deadline - startedAt - 18_000) < 5, `${deadline} - ${startedAt}`)
  })

  test(`${name}: another message changes nothing`, async (t) => {
    const ended = await start(t, 'core/pm2.js', { args: [mode, 'hello'], env }).ended
    assertStopped(ended, 'nobody else stopped it')
  })
}

test('fork_mode without shutdown_with_message: messages are the app’s', async (t) => {
  const ended = await start(t, 'core/pm2.js', { args: ['fork_mode', 'shutdown'] }).ended
  assertStopped(ended, 'nobody else stopped it')
})

test('an app that has nothing left to do exits although it could get a message from PM2', async (t) => {
  const env = { shutdown_with_message: 'true' }
  const ended = await start(t, 'core/pm2.js', { args: ['fork_mode', 'hello', 'idle'], env }).ended
  assertStopped(ended, 'empty event loop')
})

function assertStopped(ended: Ended, reason: string): void {
  assertStoppedWell(ended)
  assert.match(ended.stdout, new RegExp(`^hook: ${reason}\nreport .*\nleft with 0\n$`))
}
