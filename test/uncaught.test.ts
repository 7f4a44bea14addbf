import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeFolder } from './helpers/folder.ts'
import { assertEnded, reportIn } from './helpers/report.ts'
import { asChildAndPid1, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

const messages = { error: /^TypeError: not a function$/m, rejection: /^Error: nobody catches$/m }

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

for (const kind of ['error', 'rejection', 'an error event']) {
  test(`what is printed of ${kind} is what Node prints`, async (t) => {
    const args = [kind]
    const ended = await start(t, 'core/uncaught.js', { args }).ended
    const bare = await start(t, 'core/uncaught.js', { args, env: { PID1_DISABLE: '1' } }).ended
    assertEnded(ended, 1)
    assertEnded(bare, 1)
    // Node points to the `throw`, and this package to where the error was made.
    const withoutCaret = (text: string) => text.replace(/^.*:\d+\n.*\n *\^\n/, '')
    assert.match(ended.stderr, /^file:.*errors\.js:\d+\n.*Error\('.*\n +\^\n\n/)
    assert.equal(withoutCaret(ended.stderr), withoutCaret(bare.stderr))
  })

  test(`--report-uncaught-exception writes a report of ${kind}`, async (t) => {
    const folder = makeFolder(t)
    const nodeArgs = ['--report-uncaught-exception', `--report-directory=${folder}`, '--report-filename=report.json']
    assertEnded(await start(t, 'core/uncaught.js', { nodeArgs, args: [kind] }).ended, 1)
    const report = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8'))
    assert.match(report.javascriptStack.message, /not a function|nobody catches|emitted/)
  })
}

test('a message of an error that looks like a stack frame does not make a file be read', async (t) => {
  const ended = await start(t, 'core/uncaught.js', { args: ['a false frame'] }).ended
  assertEnded(ended, 1)
  assert.match(ended.stderr, /^file:.*errors\.js:\d+\n/)
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

asChildAndPid1(
  'the deadline counts from a signal that arrived before the error, while the loop was blocked',
  async (t, pid1) => {
    const run = start(t, 'core/signal-then-error.js', { pid1 })
    await run.line(/ready/)
    run.stdin.write('go\n')
    await run.line(/blocking/)
    const signalledAt = Date.now()
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 1)
    const { startedAt, deadline, reason } = reportIn(ended)
    assert.equal(reason, 'uncaught error')
    assertTook(Math.abs(startedAt - signalledAt), { under: 200 })
    assertTook(Math.abs(deadline - signalledAt - 1750), { under: 200 })
  },
)

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
    asChildAndPid1(`an uncaught ${kind} during ${stage} is printed, and the shutdown goes on`, async (t, pid1) => {
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

asChildAndPid1('beside Sentry a signal ends the process as without pid1', async (t, pid1) => {
  const run = start(t, 'core/sentry.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.match(ended.stdout, /hook runs\n$/)
})

for (const how of ['before', 'after', 'active, without a listener']) {
  for (const kind of ['error', 'rejection'] as const) {
    asChildAndPid1(`an uncaught ${kind} shuts down with 1 beside node:domain (${how})`, async (t, pid1) => {
      const ended = await start(t, 'core/domain.js', { pid1, args: [how, kind] }).ended
      assertEnded(ended, 1)
      assert.equal(ended.stdout, 'ready\nhook runs: uncaught error\n')
      assert.match(ended.stderr, messages[kind])
    })
  }
}

asChildAndPid1("an uncaught error stays a domain's where that has an 'error' listener", async (t, pid1) => {
  const run = start(t, 'core/domain.js', { pid1, args: ['active, with a listener', 'error'] })
  await run.line(/app handles: TypeError: not a function/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.match(ended.stdout, /hook runs: SIGTERM\n$/)
  assert.equal(ended.stderr, '')
})
