import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

/** How a process ended, and what it printed. `ms` counts from the last signal that was sent, or from the start. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  readonly ms: number
}

/** A fixture that runs. */
export interface Run {
  /** The process itself (as PID 1: its pid as seen from outside), once it has printed its first line. */
  readonly pid: number
  readonly pid1: boolean
  readonly ended: Promise<Ended>
  readonly stdin: NodeJS.WritableStream
  /** Waits for text on stdout; rejects when the process ends without it. */
  line(pattern: RegExp): Promise<RegExpExecArray>
  /** The port of the fixture's ready line, `listening 12345`. */
  port(): Promise<number>
  signal(signal: NodeJS.Signals): void
}

export interface RunOptions {
  readonly pid1?: boolean
  readonly env?: NodeJS.ProcessEnv
  readonly nodeArgs?: readonly string[]
  readonly args?: readonly string[]
  /** Instead of `node nodeArgs fixture args`. */
  readonly command?: readonly string[]
  /** A command that runs the one after it, somewhere else. */
  readonly inside?: readonly string[]
  readonly cwd?: string
}

// CI also runs them elsewhere: from a folder that the tarball was installed into, and with other programs as Node.
const fixtures = process.env['PID1_TEST_FIXTURES'] ?? fileURLToPath(new URL('../fixtures/', import.meta.url))
process.execPath = process.env['PID1_TEST_NODE'] ?? process.execPath

export const fixturePath = (name: string): string => fixtures + name

/** Starts `test/fixtures/NAME` (or `command`) as an ordinary child, or as PID 1 of a PID namespace. */
export function start(t: TestContext, name: string, options: RunOptions = {}): Run {
  const command = options.command ?? [
    process.execPath,
    ...(options.nodeArgs ?? []),
    fixturePath(name),
    ...(options.args ?? []),
  ]
  const argv = [...(options.inside ?? []), ...(options.pid1 === true ? unshare : []), ...command]
  const child = spawn(argv[0] ?? '', argv.slice(1), {
    cwd: options.cwd ?? fixtures,
    env: cleanEnvironment(options.env),
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  t.after(() => child.kill('SIGKILL'))
  return follow(child, options.pid1 === true)
}

/** Registers the test twice: as an ordinary child and as PID 1. */
export function asChildAndPid1(name: string, body: (t: TestContext, pid1: boolean) => Promise<void>): void {
  test(`${name} (child)`, (t) => body(t, false))
  asPid1(name, (t) => body(t, true))
}

/** Registers the test as PID 1 only; skipped with the reason where no PID namespace may be made, which CI refuses. */
export function asPid1(name: string, body: (t: TestContext) => Promise<void>): void {
  test(`${name} (PID 1)`, async (t) => {
    if (noPid1 !== undefined) return skipBecause(t, noPid1)
    return body(t)
  })
}

/** Skips the test, which CI refuses. */
export function skipBecause(t: TestContext, reason: string): void {
  if (process.env['CI'] !== undefined) throw new Error(reason)
  t.skip(reason)
}

/** The wrapper that makes what follows root, of a user namespace where it is not root already. */
export const asRoot: readonly string[] = ['unshare', ...(process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'])]

/** The wrapper that makes what follows PID 1 of a PID namespace. */
export const unshare: readonly string[] = [...asRoot, '--pid', '--fork', '--kill-child', '--mount-proc']

const noPid1 = whyNoPid1()

function whyNoPid1(): string | undefined {
  const tried = spawnSync(unshare[0] ?? '', [...unshare.slice(1), 'true'], { encoding: 'utf8' })
  return tried.status === 0 ? undefined : `no PID namespace: ${tried.error?.message ?? tried.stderr.trim()}`
}

/** Neither the test runner's own variables nor a platform's marker may change what a fixture does. */
function cleanEnvironment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const kept = ['PATH', 'HOME', 'LANG', 'TMPDIR']
  return { ...Object.fromEntries(kept.map((key) => [key, process.env[key]])), ...more }
}

// One fixture that never ends must not cost the others of its file their results.
const limitMs = 60_000

function follow(child: ChildProcess, pid1: boolean): Run {
  const { stdin, stdout, stderr } = child
  if (stdin === null || stdout === null || stderr === null) throw new Error('Expected three pipes')
  let out = ''
  let errors = ''
  let since = performance.now()
  let over = false
  const watchers = new Set<() => void>()
  const tellWatchers = () => watchers.forEach((watcher) => watcher())
  stdin.on('error', () => {}) // EPIPE, when the process has left
  stdout.on('data', (data: Buffer) => {
    out += String(data)
    tellWatchers()
  })
  stderr.on('data', (data: Buffer) => {
    // unshare's own words when it is told to pass a SIGKILL on.
    errors += String(data).replace('unshare: sigprocmask unblock failed: Invalid argument\n', '')
  })
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject)
    const limit = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`Expected ${child.spawnargs.join(' ')} to end within ${limitMs} ms: ${out}\n${errors}`))
    }, limitMs)
    child.on('close', (code, signal) => {
      clearTimeout(limit)
      over = true
      resolve({ code, signal, stdout: out, stderr: errors, ms: performance.now() - since })
      tellWatchers()
    })
  })
  const run: Run = {
    get pid() {
      return pid1 ? onlyChildOf(child.pid ?? 0) : (child.pid ?? 0)
    },
    pid1,
    ended,
    stdin,
    line: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = pattern.exec(out)
          if (found === null && !over) return
          watchers.delete(look)
          if (found === null) reject(new Error(`Ended without ${String(pattern)}: ${out}\n${errors}`))
          else resolve(found)
        }
        watchers.add(look)
        look()
      }),
    port: async () => Number((await run.line(/listening (\d+)/))[1]),
    signal: (signal) => {
      since = performance.now()
      process.kill(run.pid, signal)
    },
  }
  return run
}

function onlyChildOf(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  if (!/^\d+$/.test(children)) throw new Error(`Expected one child of ${pid}, got "${children}"`)
  return Number(children)
}
