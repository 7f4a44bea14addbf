import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { asPid1, type Ended, type Run, start } from './helpers/run.ts'
import { type Change, fixturesWithout } from './helpers/without.ts'

// As in private-fields.test.ts, for what concerns the whole process: each scenario runs with the package as it is, and with one that
// names a field which Node, or a library, does not have. What is lost then is what the field's comment says, and nothing more.

interface Scenario {
  readonly what: string
  /** The file that uses the field, the code that names it, and what stands there instead. */
  readonly change: Change
  readonly fixture: string
  readonly args?: readonly string[]
  readonly pid1?: boolean
  readonly env?: NodeJS.ProcessEnv
  /** A command for the shell, which is given the app's own. */
  readonly shell?: (app: string, fixtures: string) => string
  /** From the ready line on; without it the process is to end by itself. */
  readonly act?: (run: Run) => Promise<void>
  /** What is seen with the field and without it. */
  readonly intact: Partial<Seen>
  readonly lost: Partial<Seen>
}

interface Seen {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** The lines after "ready". */
  readonly said: string
  readonly stderr: RegExp
}

const gone = 'gone'
const printed = /^\S+:\d+\n[^]*\n\nNode\.js v\S+\n$/
const isPrintedTwice =
  /^pid1: process\.exit failed: TypeError[^]*\npid1: process\.exit was replaced [^]*\n\nNode\.js v\S+\n$/
const watchdogHeld = /^pid1: ended with 124: the event loop was blocked for \d+ ms, during sidecars\n$/

const scenarios: readonly Scenario[] = [
  ...[3, 4].flatMap((version) =>
    [false, true].map((pid1): Scenario => {
      const ours = version === 4 ? 'Symbol.for("signal-exit emitter")' : '__signal_exit_emitter__'
      return {
        what: `the count of signal-exit ${version} (SIGHUP)`,
        change: { file: 'signal-owner', code: ours, instead: version === 4 ? 'Symbol.for("gone")' : gone },
        fixture: 'core/signals.js',
        args: [`signal-exit ${version}`, 'SIGHUP'],
        pid1,
        act: async (run) => {
          run.signal('SIGHUP')
          await wait(500)
          signalIfThere(run, 'SIGTERM')
        },
        intact: { said: 'hook begins: SIGHUP\nhook ends\n' },
        lost: { said: 'hook begins: SIGTERM\nhook ends\n' },
      }
    }),
  ),
  ...(['SIGTERM', 'SIGINT'] as const).map((signal): Scenario => ({
    what: `the count of signal-exit 4 (${signal})`,
    change: { file: 'signal-owner', code: 'Symbol.for("signal-exit emitter")', instead: 'Symbol.for("gone")' },
    fixture: 'core/signals.js',
    args: ['signal-exit 4', signal],
    act: async (run) => run.signal(signal),
    intact: { said: `hook begins: ${signal}\nhook ends\n` },
    lost: {},
  })),
  {
    what: "Sentry's mark",
    change: { file: 'uncaught', code: '_errorHandler', instead: gone },
    fixture: 'core/sentry.js',
    args: ['error'],
    act: async (run) => {
      await wait(1500)
      signalIfThere(run, 'SIGTERM')
    },
    intact: { said: 'hook runs\n', code: 1, stderr: printed },
    lost: { code: 0, stderr: /^$/ },
  },
  {
    what: "the name of domain's listener",
    change: { file: 'uncaught', code: 'domainUncaughtExceptionClear', instead: gone },
    fixture: 'core/domain.js',
    args: ['before', 'error'],
    act: async (run) => {
      await wait(700)
      signalIfThere(run, 'SIGTERM')
    },
    intact: { said: 'hook runs: uncaught error\n', code: 1, stderr: printed },
    lost: { said: 'hook runs: SIGTERM\n', code: 0, stderr: /^$/ },
  },
  ...[false, true].map((pid1): Scenario => ({
    what: `process.reallyExit where the thread pool is held`,
    change: { file: 'exit', code: '{ reallyExit: original } = process', instead: '{ gone: original } = process' },
    fixture: 'core/held.js',
    args: ['a FIFO that nobody writes to'],
    pid1,
    env: { PID1_GRACE_PERIOD: '1500ms' },
    act: async (run) => run.signal('SIGTERM'),
    intact: { said: 'last words 0\n' },
    lost: { code: 124, stderr: watchdogHeld },
  })),
  {
    what: 'process.reallyExit where nothing is held',
    change: { file: 'exit', code: '{ reallyExit: original } = process', instead: '{ gone: original } = process' },
    fixture: 'core/held.js',
    args: ['nothing'],
    act: async (run) => run.signal('SIGTERM'),
    intact: { said: 'last words 0\n' },
    lost: {},
  },
  {
    what: 'process.reallyExit where process.exit was replaced',
    change: { file: 'exit', code: '.reallyExit?.', instead: '.gone?.' },
    fixture: 'core/exit-replaced.js',
    args: ['returns'],
    env: { PID1_GRACE_PERIOD: '1500ms' },
    act: async (run) => run.signal('SIGTERM'),
    intact: { said: 'hook runs\nexit 0\nlast words 0\n', stderr: /^pid1: process\.exit was replaced [^\n]*\n$/ },
    lost: {
      code: 124,
      stderr: /^pid1: process\.exit was replaced [^\n]*\npid1: ended with 124: [^\n]*, during sidecars\n$/,
    },
  },
  {
    what: "process.reallyExit where an 'exit' listener throws",
    change: { file: 'exit', code: '.reallyExit?.', instead: '.gone?.' },
    fixture: 'core/end-listener-throws.js',
    args: ['exit', 'error', 'after', 'signal'],
    env: { PID1_GRACE_PERIOD: '1500ms' },
    act: async (run) => run.signal('SIGTERM'),
    intact: { said: 'hook runs: SIGTERM\nlast words: 1\n', code: 1, stderr: printed },
    lost: {
      said: 'hook runs: SIGTERM\n',
      code: 124,
      stderr: /\n\nNode\.js v\S+\npid1: ended with 124: [^\n]*, during sidecars\n$/,
    },
  },
  {
    what: "process.reallyExit where an 'exit' listener throws and the loop ran empty",
    change: { file: 'exit', code: '.reallyExit?.', instead: '.gone?.' },
    fixture: 'core/end-listener-throws.js',
    args: ['exit', 'error', 'after'],
    intact: { said: 'hook runs: empty event loop\nlast words: 1\n', code: 1, stderr: printed },
    lost: { said: 'hook runs: empty event loop\n' },
  },
  {
    what: "process._exiting where an 'exit' listener throws",
    change: { file: 'exit', code: '"_exiting"', instead: '"gone"' },
    fixture: 'core/end-listener-throws.js',
    args: ['exit', 'error', 'after', 'signal'],
    act: async (run) => run.signal('SIGTERM'),
    intact: { said: 'hook runs: SIGTERM\nlast words: 1\n', code: 1, stderr: printed },
    lost: { stderr: isPrintedTwice },
  },
  {
    what: "process._exiting where an 'exit' listener throws and the app calls process.exit",
    change: { file: 'exit', code: '"_exiting"', instead: '"gone"' },
    fixture: 'core/end-listener-throws.js',
    args: ['exit', 'error', 'after', 'process.exit'],
    intact: { said: 'last words: 1\n', code: 1, stderr: /^pid1: process\.exit\(0\) was called without a shutdown/ },
    lost: { said: 'hook runs: uncaught error\nlast words: 1\n' },
  },
  {
    what: "process._exiting where an 'exit' listener throws and the loop ran empty",
    change: { file: 'exit', code: '"_exiting"', instead: '"gone"' },
    fixture: 'core/end-listener-throws.js',
    args: ['exit', 'error', 'after'],
    intact: { said: 'hook runs: empty event loop\nlast words: 1\n', code: 1, stderr: printed },
    lost: {},
  },
  {
    what: 'stream._handle.writeQueueSize',
    change: { file: 'output', code: '?.writeQueueSize', instead: '?.gone' },
    fixture: 'core/output.js',
    args: ['stderr', '1', '1000000'],
    shell: (app, fixtures) =>
      `exec ${app} 2> >(exec "${process.execPath}" "${join(fixtures, 'core/slow-reader.js')}" >&2)`,
    act: async (run) => run.signal('SIGTERM'),
    intact: { said: 'left\n', stderr: /^read 1000000\n$/ },
    lost: { stderr: /^read (?!1000000)\d+\n$/ },
  },
  {
    what: 'kEnhanceStackBeforeInspector',
    change: { file: 'print-uncaught', code: '"kEnhanceStackBeforeInspector"', instead: '"gone"' },
    fixture: 'core/uncaught.js',
    args: ['an error event', 'nothing'],
    intact: {
      said: 'still alive\nhook runs: uncaught error\n',
      code: 1,
      stderr: /^\S+:\d+\n[^]*\nError: emitted\n[^]*\nEmitted 'error' event at:\n[^]*\n\nNode\.js v\S+\n$/,
    },
    lost: { stderr: /^\S+:\d+\n[^]*\nError: emitted\n(?![^]*Emitted 'error')[^]*\n\nNode\.js v\S+\n$/ },
  },
  {
    what: 'the mark of a worker thread',
    change: { file: 'this-process', code: '?.disabled', instead: '?.gone' },
    fixture: 'core/worker.js',
    act: async (run) => {
      await run.line(/worker left with 0/)
      await wait(600) // until what the worker might have armed would end the process
      run.signal('SIGTERM')
    },
    intact: {
      said: 'hook of the worker runs\nreport: by hand, 0; the worker lives on\nworker left with 0\n',
      code: null,
      signal: 'SIGTERM',
    },
    lost: { said: 'hook of the worker runs\nworker left with 0\n' },
  },
  {
    what: 'the mark of a worker thread, beside hooks of the main thread',
    change: { file: 'this-process', code: '?.disabled', instead: '?.gone' },
    fixture: 'core/worker-with-main-hook.js',
    act: async (run) => run.signal('SIGTERM'),
    intact: { said: 'hook runs in the main thread: true\n' },
    lost: {},
  },
]

const stoppedWell: Seen = { code: 0, signal: null, said: '', stderr: /^$/ }

let folder: string
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'private-'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

// They wait for most of their time.
void describe('private fields of the process', { concurrency: 3 }, () => {
  for (const { intact, lost, ...scenario } of scenarios) {
    const { what, change, pid1 = false } = scenario
    const register = pid1 ? asPid1 : (name: string, body: (t: TestContext) => Promise<void>) => void test(name, body)
    register(`a process with ${what} loses nothing`, async (t) => {
      assertSeen(await play(t, scenario, { ...change, instead: change.code }), intact)
    })
    register(`a process without ${what} loses what its comment says, and no more`, async (t) => {
      assertSeen(await play(t, scenario, change), { ...intact, ...lost })
    })
  }

  void test("an app that has nothing left to do runs on without PM2's channel.unrefCounted, until PM2 stops it", async (t) => {
    const change = { file: 'pm2', code: 'unrefCounted', instead: gone }
    const env = { shutdown_with_message: 'true' }
    const args = ['fork_mode', 'hello', 'idle']
    const intact = await play(t, { fixture: 'core/pm2.js', args, env }, { ...change, instead: change.code })
    assert.match(intact.stdout, /^hook: empty event loop\nreport .*\nleft with 0\n$/)
    let isRunning = true
    const stop = async (run: Run) => {
      await wait(1000)
      isRunning = !(await Promise.race([run.ended.then(() => true), wait(0)]))
      run.signal('SIGTERM') // of the parent: with the channel the app has nothing left
    }
    const without = await play(t, { fixture: 'core/pm2.js', args, env, act: stop, ready: /^/ }, change)
    assert.ok(isRunning)
    assert.match(without.stdout, /^hook: empty event loop\nreport .*\n$/)
    assert.equal(without.stderr, '')
  })

  for (const [code, instead] of [
    ['internalMessage', gone],
    ['message.act', 'message.gone'],
  ] as const) {
    void test(`a worker that was disconnected shuts down only when its loop is empty, without ${code}`, async (t) => {
      const act = async (run: Run) => {
        assert.equal(await (await fetch(`http://127.0.0.1:${await run.port()}`)).text(), 'answer')
        await run.line(/worker exits/)
        run.signal('SIGTERM')
      }
      const scenario = { fixture: 'processes/primary.js', args: ['is disconnected'], act, ready: /listening/ }
      const linesWith = async (change: Change) =>
        (await play(t, scenario, change)).stdout.replace(/^listening \d+\n/, '')
      const lines = (reason: string) => `request\nhook runs: ${reason}\nworker exits with 0\n`
      assert.equal(await linesWith({ file: 'cluster', code, instead: code }), lines('disconnected from the primary'))
      assert.equal(await linesWith({ file: 'cluster', code, instead }), lines('empty event loop'))
    })
  }
})

async function play(
  t: TestContext,
  scenario: Pick<Scenario, 'fixture' | 'args' | 'pid1' | 'env' | 'shell' | 'act'> & { readonly ready?: RegExp },
  change: Change,
): Promise<Ended> {
  const {
    fixture,
    args = [],
    pid1 = false,
    env = {},
    shell,
    act,
    ready = /^(?:ready|hook of the worker runs)$/m,
  } = scenario
  const fixtures = fixturesWithout(folder, change)
  const words = [process.execPath, join(fixtures, fixture), ...args]
  const command =
    shell === undefined ? words : ['bash', '-c', shell(words.map((word) => `"${word}"`).join(' '), fixtures)]
  const run = start(t, fixture, { pid1, env, command })
  if (act !== undefined) {
    await run.line(ready)
    await act(run)
  }
  return run.ended
}

/** Where the process has ended as it should, there is nothing left to signal. */
function signalIfThere(run: Run, signal: NodeJS.Signals): void {
  try {
    run.signal(signal)
  } catch {
    // It has ended.
  }
}

function assertSeen(ended: Ended, expected: Partial<Seen>): void {
  const { code, signal, said, stderr } = { ...stoppedWell, ...expected }
  const seen = { code: ended.code, signal: ended.signal, said: ended.stdout.replace('ready\n', '') }
  assert.deepEqual(seen, { code, signal, said }, ended.stderr)
  assert.match(ended.stderr, stderr)
}
