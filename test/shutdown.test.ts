import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPid1, isShuttingDown, shutdownSignal } from 'pid1'
import { assertEnded, reportIn } from './helpers/report.ts'
import { asChildAndPid1, start } from './helpers/run.ts'

test('before a shutdown nothing is aborted', () => {
  assert.equal(isShuttingDown(), false)
  assert.equal(shutdownSignal().aborted, false)
  assert.equal(shutdownSignal(), shutdownSignal())
  assert.equal(isPid1(), process.pid === 1)
})

for (const [argument, reason, code] of [
  ['nothing', 'shutdown()', 0],
  ['a word', 'maintenance', 0],
  ['an error', 'pool is broken', 1],
  ['a code', 'shutdown()', 7],
  ['a word and a code', 'maintenance', 7],
  ['the code 0', 'shutdown()', 0],
] as const) {
  asChildAndPid1(`shutdown() with ${argument} ends the process with ${code}`, async (t, pid1) => {
    const ended = await start(t, 'core/shutdown-by-hand.js', { pid1, args: [argument] }).ended
    assertEnded(ended, code)
    const [before, aborted, after, hook, ...rest] = ended.stdout.split('\n')
    assert.deepEqual([before, aborted, after], ['false false', 'aborted', 'true true true'])
    assert.equal(hook, `hook runs: ${reason}`)
    assert.doesNotMatch(rest.join('\n'), /resolved/)
    const { reason: reported, signal, exitCode, errors } = reportIn(ended)
    assert.deepEqual({ reported, signal, exitCode }, { reported: reason, signal: null, exitCode: code })
    assert.equal(errors.length, argument === 'an error' ? 1 : 0)
    if (argument === 'an error') assert.match(ended.stderr, /pool is broken[^]*shutdown-by-hand\.js:\d+/)
    else assert.equal(ended.stderr, '')
  })
}

asChildAndPid1('shutdownSignal() is aborted at the start, with the reason', async (t, pid1) => {
  const run = start(t, 'core/shutdown-signal.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGHUP')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.match(ended.stdout, /stream ends: SIGHUP\n/)
  assert.match(ended.stdout, /hook runs\n/)
  assert.equal(ended.stderr, '') // no warning of a leak, however many listen
})

asChildAndPid1('with exit: false shutdown() resolves with the report, and all is as before', async (t, pid1) => {
  const ended = await start(t, 'core/no-exit.js', { pid1 }).ended
  assertEnded(ended, 0)
  assert.deepEqual(ended.stdout.trim().split('\n'), [
    'first runs',
    'true first 0 first done true',
    'false false false',
    'second runs',
    'true second 0 second done true',
    'false false false',
    'still alive',
  ])
  assert.equal(ended.stderr, '')
})

asChildAndPid1('with exit: false a signal runs the hooks once, and the process lives on', async (t, pid1) => {
  const run = start(t, 'core/no-exit-signal.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  await run.line(/hook runs\nreport SIGTERM 0/)
  run.signal('SIGTERM')
  run.stdin.write('?')
  await run.line(/still alive/)
  run.stdin.end()
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout.match(/hook runs/g)?.length, 1)
  assert.equal(ended.stderr, '')
})

asChildAndPid1('with exit: false what was bad is in the report of that round only', async (t, pid1) => {
  const ended = await start(t, 'core/no-exit-bad-hooks.js', { pid1 }).ended
  assert.equal(ended.stdout, 'report 1\nreport 124\nreport 0\n')
  assert.match(ended.stderr, /"failing"[^]*"hanging"/)
})

asChildAndPid1('a worker runs its hooks by hand, and nothing exits', async (t, pid1) => {
  const run = start(t, 'core/worker.js', { pid1 })
  await run.line(/hook of the worker runs\nreport: by hand, 0; the worker lives on\nworker left with 0/)
  assert.equal(run.stdin.writable, true)
  run.signal('SIGTERM')
  // The main thread registered nothing of its own: an ordinary process has its default action.
  const ended = await run.ended
  assert.deepEqual([ended.code, ended.signal], pid1 ? [0, null] : [null, 'SIGTERM'], ended.stderr)
})

asChildAndPid1('a signal runs the hooks of the main thread, not those of a worker', async (t, pid1) => {
  const run = start(t, 'core/worker-with-main-hook.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'ready\nhook runs in the main thread: true\n')
})

asChildAndPid1('an onReport that throws costs nothing but a line', async (t, pid1) => {
  const run = start(t, 'core/bad-on-report.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'ready\nhook runs\n')
  assert.match(ended.stderr, /^pid1: .*no metrics server/)
})

asChildAndPid1('configure() merges, and has no effect on the shutdown under way', async (t, pid1) => {
  const run = start(t, 'core/configured.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 143)
  const { gracePeriodMs, startedAt, deadline } = reportIn(ended)
  assert.equal(gracePeriodMs, 4000)
  assert.ok(Math.abs(deadline - startedAt - 3600) < 20)
})

asChildAndPid1('PID1_DISABLE=1 turns everything off', async (t, pid1) => {
  const ended = await start(t, 'core/disabled.js', { pid1, env: { PID1_DISABLE: '1' } }).ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'same server: true\nlisteners: 0000000\nshutting down: false false\nready\n')
  assert.equal(ended.stderr, '')
})

test('PID1_DISABLE=1 leaves a signal its default action', async (t) => {
  const run = start(t, 'core/disabled.js', { env: { PID1_DISABLE: '1' }, args: ['stays'] })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assert.deepEqual([ended.code, ended.signal], [null, 'SIGTERM'])
  assert.doesNotMatch(ended.stdout, /runs|words|report/)
})
