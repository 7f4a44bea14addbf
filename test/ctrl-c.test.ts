// Who is a person: a second Ctrl-C forces the end, and what other processes send does not.
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { assertEnded, assertStoppedWell } from './helpers/report.ts'
import { asChildAndPid1, asPid1, fixturePath, type Run, start, unshare } from './helpers/run.ts'
import { blockFor, pidOnTerminal, startOnTerminal } from './helpers/terminal.ts'
import { assertTook } from './helpers/time.ts'

const ctrlC = '\u0003'
const app = 'core/signals.js'

for (const nodeArgs of [[], ['--no-addons']]) {
  const where = nodeArgs.length === 0 ? '' : ', without the native part'

  for (const [first, send] of [
    ['a Ctrl-C', (run: Run) => void run.stdin.write(ctrlC)],
    ['SIGTERM', (run: Run) => void process.kill(pidOnTerminal(run), 'SIGTERM')],
    ['SIGHUP', (run: Run) => void process.kill(pidOnTerminal(run), 'SIGHUP')],
  ] as const) {
    onTerminal(`a Ctrl-C after ${first} forces the end, and says what did not finish${where}`, async (t, pid1) => {
      const run = startApp(t, pid1, app, { nodeArgs, env: { HOOK_MS: '8000' } })
      await run.line(/ready/)
      send(run)
      await run.line(/hook begins/)
      await wait(150)
      run.stdin.write(ctrlC)
      const ended = await run.ended
      assertEnded(ended, 130)
      assertTook(ended.ms, { under: 7000 })
      assert.match(ended.stdout, /\^Cpid1: Ctrl-C forced the end of the shutdown; not finished: "hook"\r\n$/)
    })
  }

  onTerminal(`onForcedEnd is called with the report so far, and may throw${where}`, async (t, pid1) => {
    const run = startApp(t, pid1, app, { nodeArgs, env: { HOOK_MS: '8000', FORCED: '1' } })
    await run.line(/ready/)
    run.stdin.write(ctrlC)
    await run.line(/hook begins/)
    await wait(150)
    run.stdin.write(ctrlC)
    const ended = await run.ended
    assertEnded(ended, 130)
    assert.match(ended.stdout, /forced 130 running\r\npid1: onForcedEnd failed: Error: forced end failed\r\n/)
  })

  onTerminal(`a key that is held down is more than one Ctrl-C${where}`, async (t, pid1) => {
    const run = startApp(t, pid1, app, { nodeArgs, env: { HOOK_MS: '8000' } })
    await run.line(/ready/)
    for (let n = 0; n < 12; n++) {
      run.stdin.write(ctrlC)
      await wait(33)
    }
    const ended = await run.ended
    assertEnded(ended, 130)
    assert.doesNotMatch(ended.stdout, /hook ends/)
    assert.match(ended.stdout, /forced the end/)
  })

  onTerminal(`three SIGINTs within 40 ms are one Ctrl-C${where}`, async (t, pid1) => {
    const send = async (run: Run, pid: number) => {
      run.stdin.write(ctrlC)
      await run.line(/\^C/)
      process.kill(pid, 'SIGINT')
      blockFor(nodeArgs.length === 0 ? 15 : 0)
      process.kill(pid, 'SIGINT')
    }
    const run = await sendBurst(() => startApp(t, pid1, app, { nodeArgs, env: { HOOK_MS: '300' } }), send)
    const ended = await run.ended
    assertEnded(ended, 130)
    assert.match(ended.stdout, /hook begins: SIGINT\r\nhook ends\r\n$/)
  })

  asChildAndPid1(
    `where there is no terminal, repeated SIGINTs do not count as a second Ctrl-C${where}`,
    async (t, pid1) => {
      const run = start(t, app, { pid1, nodeArgs, env: { HOOK_ENDS: 'by stdin' } })
      await run.line(/ready/)
      run.signal('SIGINT')
      await run.line(/hook begins/)
      for (let n = 0; n < 3; n++) {
        await wait(130)
        run.signal('SIGINT')
      }
      await wait(130)
      run.stdin.write('end\n')
      const ended = await run.ended
      assertStoppedWell(ended)
      assert.equal(ended.stdout, 'ready\nhook begins: SIGINT\nhook ends\n')
    },
  )

  for (const [signal, count] of [
    ['SIGINT', 1],
    ['SIGINT', 2],
    ['SIGTERM', 3],
  ] as const) {
    asChildAndPid1(`an app that emits ${signal} ${count} times is stopped by it${where}`, async (t, pid1) => {
      const ended = await start(t, 'core/emits.js', { pid1, nodeArgs, args: [signal, String(count)] }).ended
      assertStoppedWell(ended)
      assert.match(
        ended.stdout,
        new RegExp(`hook begins: ${signal}\nreport {"reason":"${signal}","signal":"${signal}"`),
      )
    })
  }

  test(`a SIGINT that an app on a terminal emits ends the app with 130${where}`, async (t) => {
    assertEnded(await startApp(t, false, 'core/emits.js', { nodeArgs, args: ['SIGINT', '1'] }).ended, 130)
  })

  test(`a second SIGINT that an app on a terminal emits forces the end${where}`, async (t) => {
    const ended = await startApp(t, false, 'core/emits.js', { nodeArgs, args: ['SIGINT', '2'] }).ended
    assertEnded(ended, 130)
    assert.match(ended.stdout, /forced the end of the shutdown; not finished: "hook"/)
  })
}

for (const nodeArgs of [[], ['--no-addons']]) {
  const where = nodeArgs.length === 0 ? '' : ', without the native part'
  asPid1(`a Ctrl-C before the first registration counts as the first one${where}`, async (t) => {
    const run = startApp(t, true, 'core/registers-late.js', { nodeArgs })
    await run.line(/connecting/)
    run.stdin.write(ctrlC)
    await run.line(/hook begins/)
    run.stdin.write(ctrlC) // at once: later than a burst after the first one, although the hook has only begun
    const ended = await run.ended
    assertEnded(ended, 130)
    assert.match(ended.stdout, /Ctrl-C forced the end of the shutdown; not finished: "hook"\r\n$/)
  })
}

onTerminal('a wrapper on a terminal that passes Ctrl-C on passes a second one on as well', async (t, pid1) => {
  const run = startApp(t, pid1, app, { env: { HOOK_MS: '8000' } })
  await run.line(/ready/)
  process.kill(pidOnTerminal(run), 'SIGINT')
  await run.line(/hook begins/)
  await wait(150)
  process.kill(pidOnTerminal(run), 'SIGINT')
  const ended = await run.ended
  assertEnded(ended, 130)
  assert.match(ended.stdout, /forced the end/)
})

for (const first of ['a Ctrl-C', 'SIGTERM']) {
  onTerminal(`a SIGINT of a process, long after ${first}, changes nothing`, async (t, pid1) => {
    const run = startApp(t, pid1, app, { env: { HOOK_ENDS: 'by stdin' } })
    await run.line(/ready/)
    if (first === 'SIGTERM') process.kill(pidOnTerminal(run), 'SIGTERM')
    else run.stdin.write(ctrlC)
    await run.line(/hook begins/)
    for (let n = 0; n < 2; n++) {
      await wait(130)
      process.kill(pidOnTerminal(run), 'SIGINT')
    }
    await wait(130)
    run.stdin.write('end\n')
    const ended = await run.ended
    assertEnded(ended, first === 'SIGTERM' ? 0 : 130)
    assert.match(ended.stdout, /hook ends\r\n$/)
  })
}

for (const way of ['by process.kill', 'in a worker']) {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    asChildAndPid1(`${signal} that the app raises again ${way} does not count as a second Ctrl-C`, async (t, pid1) => {
      const run = start(t, 'core/re-raises.js', { pid1, args: [way] })
      await run.line(/ready/)
      run.signal(signal)
      const ended = await run.ended
      assertStoppedWell(ended)
      assert.equal(ended.stdout, 'ready\nraised again\nhook ends\n')
    })
  }

  onTerminal(`Ctrl-C that the app raises again ${way} counts as one Ctrl-C`, async (t, pid1) => {
    const run = startApp(t, pid1, 'core/re-raises.js', { args: [`'${way}'`] })
    await run.line(/ready/)
    run.stdin.write(ctrlC)
    const ended = await run.ended
    assertEnded(ended, 130)
    assert.match(ended.stdout, /raised again\r\nhook ends\r\n$/)
  })
}

onTerminal('two SIGINTs 20 ms apart are one Ctrl-C, however late they are handled', async (t, pid1) => {
  const send = (run: Run) => {
    run.stdin.write(ctrlC)
    blockFor(20)
    run.stdin.write(ctrlC)
  }
  const run = await sendBurst(() => startApp(t, pid1, app, { env: { BLOCK_MS: '400', HOOK_MS: '300' } }), send)
  const ended = await run.ended
  assertEnded(ended, 130)
  assert.match(ended.stdout, /hook ends\r\n$/)
})

for (const [when, during] of [
  ['before the signal', 'since before the shutdown could begin'],
  ['in a hook', 'during cleanup, "database"'],
] as const) {
  for (const first of ['a Ctrl-C', 'SIGTERM']) {
    onTerminal(`blocked ${when}: a Ctrl-C after ${first} ends the process at once`, async (t, pid1) => {
      const run = startBlocked(t, pid1, { when })
      await run.line(/ready/)
      if (first === 'SIGTERM') process.kill(pidOnTerminal(run), 'SIGTERM')
      else run.stdin.write(ctrlC)
      if (when === 'in a hook') await run.line(/remaining/)
      await wait(200)
      run.stdin.write(ctrlC)
      const ended = await run.ended
      assertEnded(ended, 130)
      const line = `pid1: ended with 130: Ctrl-C during the shutdown, the event loop was blocked for \\d+ ms, ${during}\r\n$`
      assert.match(ended.stdout, new RegExp(line))
      assertTook(ended.ms, { under: 7000 })
    })
  }
}

onTerminal('blocked right behind the first Ctrl-C: the second ends the process', async (t, pid1) => {
  const run = startBlocked(t, pid1, { when: 'in a hook' })
  await run.line(/ready/)
  run.stdin.write(ctrlC)
  blockFor(110) // the loop has turned in between, and does not turn any more
  run.stdin.write(ctrlC)
  const ended = await run.ended
  assertEnded(ended, 130)
  assert.match(ended.stdout, /pid1: ended with 130: Ctrl-C during the shutdown/)
})

onTerminal('a single Ctrl-C, and a burst, leave a blocked process its time', async (t, pid1) => {
  const run = startBlocked(t, pid1, { when: 'before the signal', ms: 700 })
  await run.line(/ready/)
  run.stdin.write(ctrlC.repeat(3))
  const ended = await run.ended
  assertEnded(ended, 130)
  assert.match(ended.stdout, /report {"reason":"SIGINT"/)
})

/** Sends a burst of signals to a new app. If a busy machine made the burst longer than one may be, it is sent to another one. */
async function sendBurst(startOne: () => Run, send: (run: Run, pid: number) => unknown): Promise<Run> {
  for (let attempt = 1; ; attempt++) {
    const run = startOne()
    await run.line(/ready/)
    const pid = pidOnTerminal(run)
    const since = performance.now()
    await send(run, pid)
    const tookMs = performance.now() - since
    if (tookMs < 80) return run
    if (attempt === 5) throw new Error(`Expected a burst within 80 ms, which took ${tookMs} ms`)
    await run.ended
  }
}

/** Registers the test twice: on a terminal of its own, and there as PID 1. */
function onTerminal(name: string, body: (t: TestContext, pid1: boolean) => Promise<void>): void {
  test(`${name} (child)`, (t) => body(t, false))
  asPid1(name, (t) => body(t, true))
}

interface AppOptions {
  readonly nodeArgs?: readonly string[]
  readonly args?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
}

function startApp(t: TestContext, pid1: boolean, file: string, { nodeArgs = [], args = [], env }: AppOptions): Run {
  const node = [process.execPath, ...nodeArgs, fixturePath(file), ...args]
  return startOnTerminal(t, [...(pid1 ? unshare : []), ...node], env)
}

function startBlocked(t: TestContext, pid1: boolean, blocked: { when: string; ms?: number }): Run {
  const options = JSON.stringify({ how: 'an endless loop', gracePeriodMs: 10_000, ...blocked })
  return startApp(t, pid1, 'core/blocked.js', { args: [`'${options}'`] })
}
