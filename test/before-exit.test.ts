import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { assertEnded, assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, type Ended, fixturePath, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

for (const [stream, lines, bytes] of [
  ['stdout', 20_000, 100],
  ['stderr', 20_000, 100],
  ['stdout', 1, 4_000_000],
] as const) {
  asChildAndPid1(`all that is written to ${stream} arrives: ${lines} × ${bytes} bytes`, async (t, pid1) => {
    const args = [stream, String(lines), String(bytes)]
    const run = start(t, 'core/output.js', { pid1, args })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 0)
    const text = stream === 'stdout' ? ended.stdout.replace('ready\n', '') : ended.stderr
    assert.equal(text.length, lines * bytes)
  })
}

test('a reader that is slow, but reads, gets all of one large chunk', async (t) => {
  const reader = [process.execPath, fixturePath('core/slow-reader.js')].map((word) => `"${word}"`).join(' ')
  const app = [process.execPath, fixturePath('core/output.js'), 'stderr', '1', '1000000'].map((word) => `"${word}"`)
  const run = start(t, '', { command: ['bash', '-c', `exec ${app.join(' ')} 2> >(exec ${reader} >&2)`] })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'ready\nleft\n')
  assert.equal(ended.stderr, 'read 1000000\n')
})

for (const [what, gracePeriodMs, leastMs, mostMs] of [
  ['for a second', '10000', 900, 3000],
  ['until the deadline', '800', 200, 900],
] as const) {
  // Not as PID 1, which ends the reader first.
  test(`a reader that does not read is waited for ${what}`, async (t) => {
    const app = [process.execPath, fixturePath('core/output.js'), 'stderr', '1', '1000000', gracePeriodMs]
    const words = app.map((word) => `"${word}"`).join(' ')
    const run = start(t, '', { command: ['bash', '-c', `exec ${words} 2> >(exec sleep 4 > /dev/null 2>&1)`] })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const signalledAt = performance.now()
    await run.line(/left/)
    const ms = performance.now() - signalledAt
    assertTook(ms, { over: leastMs, under: mostMs })
    assertEnded(await run.ended, 0)
  })
}

asChildAndPid1("'beforeExit' is emitted once behind the last hook, and what it starts is awaited", async (t, pid1) => {
  const ended = await stop(t, pid1, 'works', 'sends', 'waits', 'prints')
  assertStoppedWell(ended)
  assert.deepEqual(linesOf(ended.stdout), ['ready', 'hook runs', 'beforeExit 0', 'waited', 'sent'])
  assertTook(ended.ms, { under: 900 })
})

for (const kind of ['error', 'rejection']) {
  asChildAndPid1(`a listener of 'beforeExit' with an uncaught ${kind} does not affect the others`, async (t, pid1) => {
    const ended = await stop(t, pid1, 'works', kind, 'waits', 'prints')
    assertEnded(ended, 0) // the service had done what it had to do
    assert.deepEqual(linesOf(ended.stdout), ['ready', 'hook runs', 'beforeExit 0', 'waited'])
    assert.match(ended.stderr, /^(TypeError: not a function|Error: nobody catches)$/m)
    assert.equal(reportIn(ended).errors.length, 1)
  })
}

asChildAndPid1("a listener of 'beforeExit' that does not end is waited for a second", async (t, pid1) => {
  const ended = await stop(t, pid1, 'works', 'hangs')
  assertStoppedWell(ended)
  assertTook(ended.ms, { over: 900, under: 2500 })
})

for (const way of ['process.exit()', 'process.exit(0)']) {
  asChildAndPid1(`a listener of 'beforeExit' that calls ${way} does not make a failure good`, async (t, pid1) => {
    const ended = await stop(t, pid1, 'fails', 'prints', way)
    assertEnded(ended, 1)
    assert.deepEqual(linesOf(ended.stdout), ['ready', 'hook runs', 'beforeExit 1'])
  })
}

async function stop(t: TestContext, pid1: boolean, ...args: string[]): Promise<Ended> {
  const run = start(t, 'core/before-exit.js', { pid1, args })
  await run.line(/ready/)
  run.signal('SIGTERM')
  return run.ended
}

function linesOf(stdout: string): string[] {
  return stdout.split('\n').filter((line) => line !== '' && !line.startsWith('report '))
}
