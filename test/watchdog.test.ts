import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { assertEndedByWatchdog, gracePeriodMs, startBlocked, stop } from './helpers/blocked.ts'
import { assertEnded, assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, asPid1, fixturePath, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

const ways = ['an endless loop', 'execSync', 'a regular expression', 'a wait for another thread'] as const

for (const how of ways) {
  asChildAndPid1(`blocked by ${how} before the signal, the process ends in time with 124`, async (t, pid1) => {
    const ended = await stop(startBlocked(t, pid1, { how, when: 'before the signal' }))
    assertEndedByWatchdog(ended, 'since before the shutdown could begin')
  })

  asChildAndPid1(`blocked by ${how} in a hook, the process ends in time with 124`, async (t, pid1) => {
    const ended = await stop(startBlocked(t, pid1, { how, when: 'in a hook' }))
    assertEndedByWatchdog(ended, 'during cleanup, "database"')
  })
}

asPid1('without the native part a blocked process does not end', async (t) => {
  const run = startBlocked(t, true, { how: 'an endless loop', when: 'before the signal' }, ['--no-addons'])
  await run.line(/ready/)
  run.signal('SIGTERM')
  assert.equal(await Promise.race([run.ended, wait(gracePeriodMs + 1000)]), undefined)
})

asChildAndPid1('a shutdown by hand that is blocked in a hook ends in time', async (t, pid1) => {
  const ended = await startBlocked(t, pid1, { how: 'an endless loop', when: 'in a hook', byHand: true }).ended
  assertEndedByWatchdog(ended, 'during cleanup, "database"')
})

asChildAndPid1('exit callbacks that never return are ended in time', async (t, pid1) => {
  const ended = await stop(startBlocked(t, pid1, { how: 'an endless loop', when: 'in the last words' }))
  assertEnded(ended, 124)
  assert.match(ended.stderr, /^pid1: ended with 124: the event loop was blocked for \d+ ms, during sidecars\n$/)
})

for (const way of [
  'one is removed',
  'one is there once',
  'signal-exit is loaded and unloaded',
  'all are removed',
  'all are removed, and a new one comes',
  'all are removed, ours in the middle, twice',
  'all of all events are removed',
  'all of all events are removed, twice, and a new one comes',
]) {
  asChildAndPid1(`listeners are added and removed (${way}): a signal still starts a shutdown`, async (t, pid1) => {
    const ended = await stop(start(t, 'core/listeners-come-and-go.js', { pid1, args: [way] }))
    assertEnded(ended, 0)
    assert.match(ended.stdout, /hook runs/)
  })

  asChildAndPid1(`listeners are added and removed (${way}) as a signal arrives: it is not lost`, async (t, pid1) => {
    const ended = await start(t, 'core/listeners-come-and-go.js', { pid1, args: [way, 'at the signal'] }).ended
    assertEnded(ended, 0)
    assert.match(ended.stdout, /hook runs/)
  })

  asChildAndPid1(`listeners are added and removed (${way}): a blocked loop still ends in time`, async (t, pid1) => {
    const ended = await stop(start(t, 'core/listeners-come-and-go.js', { pid1, args: [way, 'blocked'] }))
    assertEnded(ended, 124)
    assertTook(ended.ms, { over: 750, under: 2000 })
  })
}

asChildAndPid1('the clock starts when the signal arrives, not when JavaScript hears of it', async (t, pid1) => {
  const blocked = { how: 'an endless loop', when: 'before the signal', ms: 1000, gracePeriodMs: 5000 }
  const run = startBlocked(t, pid1, blocked)
  await run.line(/ready/)
  const sentAt = Date.now()
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  const { startedAt, deadline } = reportIn(ended)
  assertTook(Math.abs(startedAt - sentAt), { under: 300 })
  assert.ok(Math.abs(deadline - startedAt - 4500) <= 2, `${deadline - startedAt} ms`)
  const remaining = Number(/remaining (\S+)/.exec(ended.stdout)?.[1])
  assert.ok(remaining < 3800, `${remaining} ms`)
})

asChildAndPid1('a process that is stopped and continued keeps its deadline', async (t, pid1) => {
  const run = startBlocked(t, pid1, { how: 'an endless loop', when: 'before the signal' })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const { pid } = run
  process.kill(pid, 'SIGSTOP')
  await wait(300)
  process.kill(pid, 'SIGCONT')
  assertEndedByWatchdog(await run.ended, 'since before the shutdown could begin')
})

asChildAndPid1("the timer's own signal, sent by another process, ends nothing", async (t, pid1) => {
  const run = start(t, 'core/signals.js', { pid1, env: { HOOK_MS: '300' } })
  await run.line(/ready/)
  process.kill(run.pid, 62)
  run.signal('SIGTERM')
  await run.line(/hook begins/)
  process.kill(run.pid, 62)
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.match(ended.stdout, /hook ends/)
})

asChildAndPid1('nothing is ended while there is no shutdown', async (t, pid1) => {
  const blocked = { how: 'an endless loop', when: 'before the signal', ms: 1500, gracePeriodMs: 500 }
  const run = startBlocked(t, pid1, blocked)
  await run.line(/ready/)
  await wait(1700)
  run.signal('SIGTERM')
  assertEnded(await run.ended, 0)
})

asChildAndPid1('a full pipe whose reader sleeps does not delay the exit', async (t, pid1) => {
  const blocked = JSON.stringify({ how: 'an endless loop', when: 'before the signal', gracePeriodMs, fillStderr: true })
  const app = `exec "${process.execPath}" "${fixturePath('core/blocked.js')}" '${blocked}'`
  const run = start(t, '', { pid1, command: ['bash', '-c', `${app} 2> >(exec sleep 4)`] })
  const ended = await Promise.race([stop(run), wait(10_000)])
  assert.equal(ended?.code, 124)
})

test('where a debugger is attached and a person sits in front, a blocked loop is a breakpoint', async (t) => {
  const options = { how: 'an endless loop', when: 'in a hook', ms: 1500, gracePeriodMs: 400 }
  const app = [
    process.execPath,
    '--inspect=127.0.0.1:0',
    fixturePath('core/blocked.js'),
    `'${JSON.stringify(options)}'`,
  ]
  const command = ['script', '--quiet', '--return', '--command', `exec ${app.join(' ')}`, '/dev/null']
  const run = start(t, '', { command })
  await run.line(/ready/)
  run.stdin.write('\u0003')
  assertEnded(await run.ended, 130)
})

test('in a test, with exit: false, nothing is ended afterwards', async (t) => {
  const ended = await start(t, 'core/blocked-after-no-exit.js').ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'first is over\nsecond is over\nstill alive\n')
})

asChildAndPid1("with exit: false a configured signal is the app's alone after a shutdown", async (t, pid1) => {
  const ended = await start(t, 'core/reset-signals.js', { pid1 }).ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'app heard SIGUSR2\nstill alive\n')
  assert.equal(ended.stderr, '')
})
