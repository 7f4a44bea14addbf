import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPid1, isShuttingDown, shutdownSignal } from 'pid1'
import { assertEnded, assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, fixturePath, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

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

asChildAndPid1(
  'shutdownSignal() is aborted at the start, with an AbortError whose cause is the reason',
  async (t, pid1) => {
    const run = start(t, 'core/shutdown-signal.js', { pid1 })
    await run.line(/ready/)
    run.signal('SIGHUP')
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.match(ended.stdout, /stream ends: AbortError SIGHUP\n/)
    assert.match(ended.stdout, /fetch rejects: AbortError\n/)
    assert.match(ended.stdout, /hook runs\n/)
    assert.equal(ended.stderr, '') // no warning of a leak, however many listen
  },
)

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

asChildAndPid1('with exit: false a failure is in the report of its own shutdown only', async (t, pid1) => {
  const ended = await start(t, 'core/no-exit-bad-hooks.js', { pid1 }).ended
  assert.equal(ended.stdout, 'report 1\nreport 124\nreport 0\n')
  assert.match(ended.stderr, /"failing"[^]*"hanging"/)
})

for (const [again, stage, first, code, errors] of [
  ['error', 'intake', undefined, 1, 1],
  ['error twice', 'cleanup', undefined, 1, 1],
  ['error', 'flush', undefined, 0, 1], // as an uncaught one: from the stage `children` on it changes nothing
  ['code', 'cleanup', undefined, 3, 0],
  ['code', 'flush', undefined, 3, 0],
  ['code twice', 'cleanup', undefined, 3, 0],
  ['code 0', 'cleanup', '7', 7, 0],
  ['code', 'cleanup', '7', 7, 0],
  ['error', 'cleanup', '7', 7, 1],
] as const) {
  const name = `shutdown() in ${stage} of a shutdown${first === undefined ? '' : ` with ${first}`}, with ${again}: ${code}`
  asChildAndPid1(name, async (t, pid1) => {
    const run = start(t, 'core/joins.js', { pid1, args: [again, stage, ...(first === undefined ? [] : [first])] })
    if (first === undefined) {
      await run.line(/ready/)
      run.signal('SIGTERM')
    }
    const ended = await run.ended
    assertEnded(ended, code)
    assert.equal(reportIn(ended).errors.length, errors)
    assert.equal(ended.stderr.match(/Error: pool is broken/g)?.length ?? 0, errors, ended.stderr)
  })
}

for (const [what, code] of [
  ['an error', 0],
  ['an uncaught error', 1],
] as const) {
  asChildAndPid1(`with exit: false ${what} makes process.exitCode ${code}`, async (t, pid1) => {
    const ended = await start(t, 'core/no-exit-error.js', { pid1, args: [what] }).ended
    assertEnded(ended, code)
    assert.equal(ended.stdout, `report 1, process.exitCode ${code === 0 ? undefined : code}\n`)
    assert.match(ended.stderr, /Error: pool is broken/)
  })
}

for (const tool of ['node:test', 'sinon']) {
  asChildAndPid1(`the fake timers of ${tool} do not stop a shutdown`, async (t, pid1) => {
    const ended = await start(t, 'core/fake-timers.js', { pid1, args: [tool] }).ended
    assertEnded(ended, 0)
    const { durationMs, exitCode, stages, startedAt } = reportIn(ended)
    const outcomes = stages.flatMap(({ hooks }) => hooks.map(({ outcome }) => outcome))
    assert.deepEqual([exitCode, ...outcomes], [124, 'done', 'cut', 'done'])
    assertTook(durationMs, { over: 130, under: 1700 })
    assert.ok(Math.abs(startedAt - Date.now()) < 60_000, `began at ${startedAt}`)
  })
}

for (const how of ['as Node has it', 'chdir is wrapped']) {
  asChildAndPid1(`a worker runs its hooks by hand, and nothing exits: ${how}`, async (t, pid1) => {
    const run = start(t, 'core/worker.js', { pid1, args: [how] })
    await run.line(/hook of the worker runs\nreport: by hand, 0; the worker lives on\nworker left with 0/)
    assert.equal(run.stdin.writable, true)
    run.signal('SIGTERM')
    // The main thread registered nothing of its own: an ordinary process has its default action.
    const ended = await run.ended
    assert.deepEqual([ended.code, ended.signal], pid1 ? [0, null] : [null, 'SIGTERM'], ended.stderr)
  })
}

asChildAndPid1('a signal runs the hooks of the main thread, not those of a worker', async (t, pid1) => {
  const run = start(t, 'core/worker-with-main-hook.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'ready\nhook runs in the main thread: true\n')
})

asChildAndPid1('an onReport that throws causes one line and nothing else', async (t, pid1) => {
  const run = start(t, 'core/bad-on-report.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'ready\nhook runs\n')
  assert.match(ended.stderr, /^pid1: .*no metrics server/)
})

asChildAndPid1('an onReport that rejects causes one line and nothing else', async (t, pid1) => {
  const run = start(t, 'core/bad-on-report.js', { pid1, args: ['rejects'] })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.match(ended.stderr, /^pid1: onReport failed: Error: no metrics server/)
})

asChildAndPid1('a shutdown that fails itself ends with 1 and one line', async (t, pid1) => {
  const run = start(t, 'core/broken.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 1)
  assert.match(ended.stderr, /^pid1: the stage cleanup failed: Error: replaced by the app\n/)
  assert.equal(ended.stderr.match(/^pid1:/gm)?.length, 1)
  assert.equal(ended.stdout, 'ready\nlogs run\n')
  const inTest = await start(t, 'core/broken.js', { pid1, args: ['exit: false'] }).ended
  assertEnded(inTest, 0)
  assert.equal(inTest.stdout, 'logs run\nreport 1\n')
})

asChildAndPid1('configure() merges, and has no effect on the shutdown under way', async (t, pid1) => {
  const run = start(t, 'core/configured.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 143)
  assert.match(ended.stdout, /^PID1_INVALID_OPTION, listeners to SIGUSR2: \d$/m)
  assert.doesNotMatch(ended.stdout, /late report/)
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

asChildAndPid1("globals of jsdom or happy-dom in the place of Node's own change nothing", async (t, pid1) => {
  const nodeArgs = ['--import', fixturePath('core/foreign-globals.js')]
  const run = start(t, 'core/aborts.js', { pid1, nodeArgs })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  const shutdown = 'shutdown: AbortError: The service shuts down: SIGTERM'
  assert.equal(ended.stdout, `ready\n${shutdown}\nhook: AbortError: The time of this hook is up\n`)
})
