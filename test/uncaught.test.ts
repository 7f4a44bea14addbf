import assert from 'node:assert/strict'
import { assertEnded } from './helpers/report.ts'
import { asChildAndPid1, start } from './helpers/run.ts'

const messages = { error: /^Uncaught TypeError: not a function/, rejection: /^Uncaught Error: nobody catches/ }

for (const kind of ['error', 'rejection'] as const) {
  for (const listener of ['nothing', 'uncaughtExceptionMonitor']) {
    asChildAndPid1(`an uncaught ${kind} shuts down with 1, beside ${listener}`, async (t, pid1) => {
      const ended = await start(t, 'core/uncaught.js', { pid1, args: [kind, listener] }).ended
      assertEnded(ended, 1)
      assert.match(ended.stdout, /^ready\n(app handles: .*\n)?(still alive\n)?hook runs: uncaught error\n$/)
      assert.match(ended.stderr, messages[kind])
      assert.match(ended.stderr, /errors\.js:\d+/)
    })
  }
}

asChildAndPid1('an uncaught undefined shuts down with 1', async (t, pid1) => {
  const ended = await start(t, 'core/uncaught.js', { pid1, args: ['undefined'] }).ended
  assertEnded(ended, 1)
  assert.match(ended.stdout, /hook runs/)
  assert.match(ended.stderr, /undefined/)
})

asChildAndPid1('an error while the app starts shuts down with 1', async (t, pid1) => {
  const ended = await start(t, 'core/uncaught-at-top-level.js', { pid1 }).ended
  assertEnded(ended, 1)
  assert.equal(ended.stdout, 'hook runs: uncaught error\n')
  assert.match(ended.stderr, /cannot start/)
})

for (const [kind, listener] of [
  ['error', 'uncaughtException'],
  ['error', 'a capture callback'],
  ['rejection', 'uncaughtException'],
  ['rejection', 'unhandledRejection'],
  ['rejection', 'a capture callback'],
] as const) {
  asChildAndPid1(`an uncaught ${kind} stays the app's where it has ${listener}`, async (t, pid1) => {
    const run = start(t, 'core/uncaught.js', { pid1, args: [kind, listener] })
    await run.line(/app handles: (TypeError: not a function|Error: nobody catches)/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.match(ended.stdout, /hook runs: SIGTERM\n$/)
    assert.equal(ended.stderr, '')
  })
}

asChildAndPid1('--unhandled-rejections=warn is respected', async (t, pid1) => {
  const nodeArgs = ['--unhandled-rejections=warn']
  const run = start(t, 'core/uncaught.js', { pid1, nodeArgs, args: ['rejection'] })
  await run.line(/ready/)
  // The warning is on stderr: when a signal is handled after it, the process lived on.
  await run.line(/still alive/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.match(ended.stdout, /hook runs: SIGTERM\n$/)
  assert.match(ended.stderr, /UnhandledPromiseRejectionWarning: Error: nobody catches/)
})

for (const kind of ['error', 'rejection'] as const) {
  for (const [stage, code] of [
    ['intake', 1],
    ['cleanup', 1],
    ['flush', 0],
  ] as const) {
    asChildAndPid1(`an uncaught ${kind} during ${stage} is told, and the shutdown goes on`, async (t, pid1) => {
      const run = start(t, 'core/uncaught-during-shutdown.js', { pid1, args: [kind, stage] })
      await run.line(/ready/)
      run.signal('SIGTERM')
      const ended = await run.ended
      // From flush on what the service had to do is done.
      assertEnded(ended, code)
      assert.match(ended.stdout, /hook ends\nlater runs\nreport .*"errors":\[\{[^}]+\}\],"exitCode":\d\}\n$/)
      assert.match(ended.stderr, messages[kind])
    })
  }
}

asChildAndPid1("Sentry's listener does not keep the process alive", async (t, pid1) => {
  const ended = await start(t, 'core/sentry.js', { pid1, args: ['error'] }).ended
  assertEnded(ended, 1)
  assert.match(ended.stdout, /hook runs\n$/)
  assert.match(ended.stderr, /SyntaxError/)
})

asChildAndPid1('beside Sentry a signal ends the process as ever', async (t, pid1) => {
  const run = start(t, 'core/sentry.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.match(ended.stdout, /hook runs\n$/)
})
