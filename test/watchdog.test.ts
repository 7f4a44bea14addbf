import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { assertEnded, reportIn } from './helpers/report.ts'
import { asChildAndPid1, asPid1, type Ended, fixturePath, type Run, start } from './helpers/run.ts'

// The deadline is 750 ms after the signal, the watchdog's time 875 ms.
const gracePeriodMs = 1000
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

for (const [signal, options] of [
  ['SIGINT', {}],
  ['SIGUSR2', { signals: ['SIGUSR2'] }],
] as const) {
  asChildAndPid1(`a blocked process ends in time after ${signal}`, async (t, pid1) => {
    const run = startBlocked(t, pid1, { how: 'an endless loop', when: 'before the signal', ...options })
    assertEndedByWatchdog(await stop(run, signal), 'since before the shutdown could begin')
  })
}

asChildAndPid1('a shutdown by hand that is blocked in a hook ends in time', async (t, pid1) => {
  const ended = await startBlocked(t, pid1, { how: 'an endless loop', when: 'in a hook', byHand: true }).ended
  assertEndedByWatchdog(ended, 'during cleanup, "database"')
})

asChildAndPid1('last words that never end are ended in time', async (t, pid1) => {
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
]) {
  asChildAndPid1(`listeners come and go (${way}): a signal is still heard`, async (t, pid1) => {
    const ended = await stop(start(t, 'core/listeners-come-and-go.js', { pid1, args: [way] }))
    assertEnded(ended, 0)
    assert.match(ended.stdout, /hook runs/)
  })

  asChildAndPid1(`listeners come and go (${way}): a blocked loop still ends in time`, async (t, pid1) => {
    const ended = await stop(start(t, 'core/listeners-come-and-go.js', { pid1, args: [way, 'blocked'] }))
    assertEnded(ended, 124)
    assert.ok(ended.ms > 750 && ended.ms < 2000, `${ended.ms} ms`)
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
  assert.ok(Math.abs(startedAt - sentAt) < 300, `${startedAt - sentAt} ms`)
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

asChildAndPid1('nothing is ended while there is no shutdown', async (t, pid1) => {
  const blocked = { how: 'an endless loop', when: 'before the signal', ms: 1500, gracePeriodMs: 500 }
  const run = startBlocked(t, pid1, blocked)
  await run.line(/ready/)
  await wait(1700)
  run.signal('SIGTERM')
  assertEnded(await run.ended, 0)
})

asChildAndPid1('a full pipe whose reader sleeps does not hold up the end', async (t, pid1) => {
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

interface Blocked {
  readonly how: string
  readonly when: string
  readonly ms?: number
  readonly gracePeriodMs?: number
  readonly signals?: readonly string[]
  readonly byHand?: boolean
}

function startBlocked(t: TestContext, pid1: boolean, blocked: Blocked, nodeArgs: readonly string[] = []): Run {
  return start(t, 'core/blocked.js', { pid1, nodeArgs, args: [JSON.stringify({ gracePeriodMs, ...blocked })] })
}

async function stop(run: Run, signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
  await run.line(/ready/)
  run.signal(signal)
  return run.ended
}

/** Not before the watchdog's time, and before the platform would have killed it, give or take a busy machine. */
function assertEndedByWatchdog(ended: Ended, during: string): void {
  assertEnded(ended, 124)
  assert.match(ended.stderr, new RegExp(`^pid1: ended with 124: the event loop was blocked for \\d+ ms, ${during}\\n$`))
  assert.ok(ended.ms > 750 && ended.ms < 2000, `${ended.ms} ms`)
}
