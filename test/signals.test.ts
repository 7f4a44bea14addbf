import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { makeFolder } from './helpers/folder.ts'
import { assertEnded } from './helpers/report.ts'
import { asChildAndPid1, asPid1, type Ended, fixturePath, type Run, start, unshare } from './helpers/run.ts'
import { pidOnTerminal, pressCtrlC, startOnTerminal } from './helpers/terminal.ts'
import { assertTook } from './helpers/time.ts'

const stopSignals = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGPWR'] as const
const fatalSignals = ['SIGUSR2', 'SIGALRM', 'SIGVTALRM', 'SIGIO', 'SIGSTKFLT', 'SIGXCPU'] as const
const noListeners = ['nothing', 'signal-exit 3', 'signal-exit 4', 'signal-exit 3 and 4'] as const

for (const signal of stopSignals) {
  for (const beside of noListeners) {
    asChildAndPid1(`${signal} starts a shutdown, beside ${beside}`, async (t, pid1) => {
      const run = await startBeside(t, pid1, beside, signal)
      run.signal(signal)
      const ended = await run.ended
      assertEnded(ended, 0)
      assert.equal(ended.stdout, `ready\nhook begins: ${signal}\nhook ends\n`)
      assert.equal(ended.stderr, '')
    })
  }
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  asChildAndPid1(`${signal} also reaches the app's own listener, after ours`, async (t, pid1) => {
    const run = await startBeside(t, pid1, 'a listener of its own', signal)
    run.signal(signal)
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.match(ended.stdout, new RegExp(`app heard ${signal}, shutting down: true`))
    assert.match(ended.stdout, new RegExp(`hook begins: ${signal}\n(.*\n)?hook ends`))
  })
}

for (const signal of ['SIGHUP', 'SIGQUIT', 'SIGPWR', ...fatalSignals] as const) {
  asChildAndPid1(`${signal} stays the app's where it listens to it`, async (t, pid1) => {
    const run = await startBeside(t, pid1, 'a listener of its own', signal)
    run.signal(signal)
    await run.line(/app heard SIG\w+, shutting down: false/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.match(ended.stdout, /hook begins: SIGTERM\nhook ends/)
  })
}

for (const signal of fatalSignals) {
  for (const beside of noListeners) {
    asChildAndPid1(`${signal} ends the process as without pid1, beside ${beside}`, async (t, pid1) => {
      const run = await startBeside(t, pid1, beside, signal)
      run.signal(signal)
      const ended = await run.ended
      if (pid1) assertEnded(ended, 128 + constants.signals[signal])
      else assertEndedBy(ended, signal)
      assert.equal(ended.stdout, 'ready\n')
      assertTook(ended.ms, { under: 2000 })
    })
  }
}

for (const beside of [...noListeners, 'a listener of its own'] as const) {
  asChildAndPid1(`a configured signal starts a shutdown, beside ${beside}`, async (t, pid1) => {
    const run = await startBeside(t, pid1, beside, 'SIGUSR2', { OPTIONS: JSON.stringify({ signals: ['SIGUSR2'] }) })
    run.signal('SIGUSR2')
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.match(ended.stdout, /hook begins: SIGUSR2\n(.*\n)?hook ends/)
  })
}

for (const [signal, code] of [
  ['SIGTERM', 143],
  ['SIGINT', 130],
  ['SIGHUP', 129],
] as const) {
  asChildAndPid1(`exitCode 'signal' makes a good shutdown by ${signal} end with ${code}`, async (t, pid1) => {
    const run = await startBeside(t, pid1, 'nothing', signal, { OPTIONS: JSON.stringify({ exitCode: 'signal' }) })
    run.signal(signal)
    const ended = await run.ended
    assertEnded(ended, code)
    assert.match(ended.stdout, /hook ends/)
  })
}

asChildAndPid1('a second SIGTERM changes nothing', async (t, pid1) => {
  const run = await startBeside(t, pid1, 'nothing', 'SIGTERM', { HOOK_ENDS: 'by stdin' })
  run.signal('SIGTERM')
  await run.line(/hook begins/)
  await wait(150) // later than a burst of signals
  run.signal('SIGTERM')
  await wait(150)
  run.stdin.write('end\n')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'ready\nhook begins: SIGTERM\nhook ends\n')
  assert.equal(ended.stderr, '')
})

asChildAndPid1('a SIGTERM after a SIGINT changes nothing', async (t, pid1) => {
  const run = await startBeside(t, pid1, 'nothing', 'SIGINT', { HOOK_ENDS: 'by stdin' })
  run.signal('SIGINT')
  await run.line(/hook begins/)
  await wait(150)
  run.signal('SIGTERM')
  await wait(150)
  run.stdin.write('end\n')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.match(ended.stdout, /hook ends/)
})

asChildAndPid1("the shutdown has already begun when the app's own SIGTERM handler exits", async (t, pid1) => {
  const run = start(t, 'core/app-exits.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 5)
  assert.match(ended.stdout, /shutting down: true/)
  assert.match(ended.stderr, /^pid1: .*process\.exit\(5\).*app-exits\.js:\d+.*\n$/)
  assert.match(ended.stderr, /"slow"/)
  assert.match(ended.stderr, /"waiting"/)
})

test('Ctrl-C on a terminal ends with 130, and nobody has to wait for a kept connection', async (t) => {
  const run = startOnTerminal(t, [process.execPath, fixturePath('core/interactive.js')])
  await makeKeptConnection(t, await run.port())
  const ended = await pressCtrlC(run)
  assertEnded(ended, 130)
  assert.match(ended.stdout, /hook runs/)
  assertTook(ended.ms, { under: 5000 })
})

for (const nodeArgs of [[], ['--no-addons']]) {
  const where = nodeArgs.length === 0 ? '' : ', without the native part'
  for (const [what, options, drain, keys] of [
    ['SIGTERM with a terminal on stdin drains as configured', { lingerMs: 900 }, {}, false],
    ['SIGTERM with a terminal on stdin drains as its server says', {}, { lingerMs: 900 }, false],
    ['SIGTERM with a terminal on stdin waits for its delay', { lingerMs: 0, drainDelayMs: 900 }, {}, false],
    ['Ctrl-C drains as its server says', {}, { lingerMs: 900 }, true],
    ['Ctrl-C waits for the delay that its server says', {}, { drainDelayMs: 900 }, true],
  ] as const) {
    test(`${what}${where}`, async (t) => {
      const env = { OPTIONS: JSON.stringify(options), DRAIN: JSON.stringify(drain) }
      const run = startOnTerminal(t, [process.execPath, ...nodeArgs, fixturePath('core/interactive.js')], env)
      await makeKeptConnection(t, await run.port())
      const sentAt = performance.now()
      if (keys) run.stdin.write('\u0003')
      else process.kill(pidOnTerminal(run), 'SIGTERM')
      const ended = await run.ended
      const ms = performance.now() - sentAt
      assertEnded(ended, keys ? 130 : 0)
      assertTook(ms, { over: 850, under: 6000 })
    })
  }
}

asPid1('Ctrl-C on a terminal does not wait for a kept connection', async (t) => {
  const run = startOnTerminal(t, [...unshare, process.execPath, fixturePath('core/interactive.js')])
  await makeKeptConnection(t, await run.port())
  const sentAt = performance.now()
  assertEnded(await pressCtrlC(run), 130)
  const ms = performance.now() - sentAt
  assertTook(ms, { under: 5000 })
})

asPid1('Ctrl-C on a terminal ends with 130, so that `docker run -it image && deploy` does not go on', async (t) => {
  const run = startOnTerminal(t, [...unshare, process.execPath, fixturePath('core/signals.js')])
  await run.line(/ready/)
  const ended = await pressCtrlC(run)
  assertEnded(ended, 130)
  assert.match(ended.stdout, /hook begins: SIGINT\r\nhook ends/)
})

for (const [code, what, hook] of [
  [1, 'a failed hook', 'throws'],
  [124, 'a cut hook', 'hangs'],
] as const) {
  test(`Ctrl-C on a terminal ends with ${code} after ${what}`, async (t) => {
    const env = { OPTIONS: JSON.stringify({ gracePeriodMs: 1000 }) }
    const app = [process.execPath, fixturePath('core/hooks.js'), `'${JSON.stringify(['bad', hook])}'`]
    const run = startOnTerminal(t, app, env)
    await run.line(/ready/)
    assertEnded(await pressCtrlC(run), code)
  })
}

test('with a debugger attached, at a terminal, there is no deadline', async (t) => {
  const env = { OPTIONS: JSON.stringify({ gracePeriodMs: 400 }), HOOK_MS: '1000' }
  const run = startOnTerminal(t, [process.execPath, '--inspect=127.0.0.1:0', fixturePath('core/signals.js')], env)
  await run.line(/ready/)
  const ended = await pressCtrlC(run)
  assertEnded(ended, 130)
  assert.match(ended.stdout, /hook ends/)
})

asChildAndPid1('with a debugger attached, without a terminal, there is a deadline', async (t, pid1) => {
  const env = { OPTIONS: JSON.stringify({ gracePeriodMs: 400 }), HOOK_MS: '5000' }
  const run = start(t, 'core/signals.js', { pid1, env, nodeArgs: ['--inspect=127.0.0.1:0'] })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 124)
})

const tsx = createRequire(import.meta.url).resolve('tsx/cli')

for (const [watcher, args] of [
  ['node --watch', ['--watch']],
  ['tsx watch', [tsx, 'watch']],
] as const) {
  test(`a save under ${watcher} does not wait for a kept connection`, async (t) => {
    const main = join(makeFolder(t), 'main.mjs')
    const source = `import ${JSON.stringify(pathToFileURL(fixturePath('core/interactive.js')))}\n`
    writeFileSync(main, source)
    const run = startOnTerminal(t, [process.execPath, ...args, main])
    await makeKeptConnection(t, await run.port())
    const savedAt = performance.now()
    writeFileSync(main, `${source}// saved`)
    await run.line(/hook runs[^]*listening \d+/)
    const ms = performance.now() - savedAt
    assertTook(ms, { under: 8000 })
    assertEnded(await pressCtrlC(run), 130)
  })
}

async function startBeside(
  t: TestContext,
  pid1: boolean,
  beside: string,
  signal: NodeJS.Signals,
  env: NodeJS.ProcessEnv = {},
): Promise<Run> {
  const run = start(t, 'core/signals.js', { pid1, env, args: [beside, signal] })
  await run.line(/^ready$/m)
  return run
}

async function makeKeptConnection(t: TestContext, port: number): Promise<void> {
  const agent = new Agent({ keepAlive: true })
  t.after(() => agent.destroy())
  await new Promise<void>((resolve, reject) => {
    get({ host: '127.0.0.1', port, agent }, (response) => response.resume().on('end', resolve)).on('error', reject)
  })
}

function assertEndedBy(ended: Ended, signal: NodeJS.Signals): void {
  // Node knows some signals by two names.
  const number = ended.signal === null ? undefined : constants.signals[ended.signal]
  assert.deepEqual([ended.code, number], [null, constants.signals[signal]], ended.stdout + ended.stderr)
}
