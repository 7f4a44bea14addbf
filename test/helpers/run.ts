import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { childrenOf } from './proc.ts'

/** How a process ended, and what it printed. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  /** From the last signal that was sent, or from the start, until the process has exited and its output has ended. */
  readonly ms: number
  /** The same until the process has exited. A child of its own may hold its output open for longer. */
  readonly exitedAfterMs: number
}

/** What is started is killed at its end: a test, or the process of the bench. */
export interface Lifetime {
  after(stop: () => void): void
}

/** A fixture that runs. */
export interface Run {
  /** The process itself (as PID 1: its pid as seen from outside), once it has printed its first line. */
  readonly pid: number
  readonly pid1: boolean
  readonly ended: Promise<Ended>
  readonly stdin: NodeJS.WritableStream
  /** Waits for text on stdout. Rejects when the process ends without it, or does not print it within a minute. */
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
  /** A process that runs for longer is killed: by default after a minute, so that the other tests of its file go on. */
  readonly limitMs?: number
}

// CI also runs them elsewhere: from a folder that the tarball was installed into, and with other programs as Node.
const fixtures = process.env['PID1_TEST_FIXTURES'] ?? fileURLToPath(new URL('../fixtures/', import.meta.url))
process.execPath = process.env['PID1_TEST_NODE'] ?? process.execPath

refuseOldBuild()

export const fixturePath = (name: string): string => fixtures + name

/** Starts `test/fixtures/NAME` (or `command`) as an ordinary child, or as PID 1 of a PID namespace. */
export function start(t: Lifetime, name: string, options: RunOptions = {}): Run {
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
  return follow(child, options.pid1 === true, options.limitMs ?? minuteMs)
}

/** Registers the test twice: as an ordinary child and as PID 1. */
export function asChildAndPid1(name: string, body: (t: TestContext, pid1: boolean) => Promise<void>): void {
  test(`${name} (child)`, (t) => body(t, false))
  asPid1(name, (t) => body(t, true))
}

/**
 * Registers the test as PID 1 only; skipped with the reason where no PID namespace may be made, which CI refuses. Not
 * registered on other systems than Linux, which have no PID namespaces.
 */
export function asPid1(name: string, body: (t: TestContext) => Promise<void>): void {
  if (process.platform !== 'linux') return
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

/** Why no process can be made PID 1 here; undefined where it can. */
export const noPid1: string | undefined = whyNoPid1()

function whyNoPid1(): string | undefined {
  const tried = spawnSync(unshare[0] ?? '', [...unshare.slice(1), 'true'], { encoding: 'utf8' })
  return tried.status === 0 ? undefined : `no PID namespace: ${tried.error?.message ?? tried.stderr.trim()}`
}

/** Fixtures import the build: after an edit of the source a test would pass or fail for yesterday's code. */
function refuseOldBuild(): void {
  if (process.env['PID1_TEST_FIXTURES'] !== undefined) return // they import the tarball's
  const project = new URL('../../', import.meta.url)
  const changedAt = (path: string) => statSync(new URL(path, project), { throwIfNoEntry: false })?.mtimeMs
  const sources = readdirSync(new URL('src', project), { recursive: true, encoding: 'utf8' })
  const builds = [
    ['dist/index.js', sources.filter((file) => file.endsWith('.ts')).map((file) => `src/${file}`)],
    [`dist/native/linux-${process.arch}.node`, ['native/pid1.c']], // none where there is no compiler
  ] as const
  for (const [build, files] of builds) {
    const builtAt = changedAt(build) ?? (build === 'dist/index.js' ? 0 : Infinity)
    const newer = files.find((file) => (changedAt(file) ?? 0) > builtAt)
    if (newer !== undefined) throw new Error(`${build} is older than ${newer}: run \`npm run build\``)
  }
}

/** Neither the test runner's own variables nor a platform's marker may change what a fixture does. */
function cleanEnvironment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const kept = ['PATH', 'HOME', 'LANG', 'TMPDIR']
  // Node's pipes are sockets, and on one bash reads ~/.bashrc, as for rshd, unless it is a shell in a shell.
  return { ...Object.fromEntries(kept.map((key) => [key, process.env[key]])), SHLVL: '1', ...more }
}

const minuteMs = 60_000

function follow(child: ChildProcess, pid1: boolean, limitMs: number): Run {
  const { stdin, stdout, stderr } = child
  if (stdin === null || stdout === null || stderr === null) throw new Error('Expected three pipes')
  let out = ''
  let errors = ''
  let since = performance.now()
  let exitedAt = 0
  let over = false
  const watchers = new Set<() => void>()
  const tellWatchers = () => watchers.forEach((watcher) => watcher())
  stdin.on('error', () => {}) // EPIPE, when the process has left
  stdout.on('data', (data: Buffer) => {
    out += String(data)
    tellWatchers()
  })
  stderr.on('data', (data: Buffer) => {
    // unshare prints this line when it passes SIGKILL on.
    errors += String(data).replace('unshare: sigprocmask unblock failed: Invalid argument\n', '')
  })
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject)
    const kill = () => {
      child.kill('SIGKILL')
      reject(new Error(`Expected ${child.spawnargs.join(' ')} to end within ${limitMs} ms: ${out}\n${errors}`))
    }
    const limit = limitMs === Infinity ? undefined : setTimeout(kill, limitMs)
    child.on('exit', () => (exitedAt = performance.now()))
    child.on('close', (code, signal) => {
      clearTimeout(limit)
      over = true
      const times = { ms: performance.now() - since, exitedAfterMs: exitedAt - since }
      resolve({ code, signal, stdout: out, stderr: errors, ...times })
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
        let late = false
        const look = () => {
          const found = pattern.exec(out)
          if (found === null && !over && !late) return
          watchers.delete(look)
          clearTimeout(limit)
          const how = late ? 'Ran for a minute' : 'Ended'
          if (found === null) reject(new Error(`${how} without ${String(pattern)}: ${out}\n${errors}`))
          else resolve(found)
        }
        const limit = setTimeout(() => {
          late = true
          look()
        }, minuteMs)
        watchers.add(look)
        look()
      }),
    port: async () => Number((await run.line(/listening (\d+)/))[1]),
    signal: (signal) => {
      const { pid } = run
      since = performance.now()
      process.kill(pid, signal)
    },
  }
  return run
}

function onlyChildOf(pid: number): number {
  const [child, ...others] = childrenOf(pid)
  if (child === undefined || others.length > 0)
    throw new Error(`Expected one child of ${pid}, got "${childrenOf(pid).join()}"`)
  return child
}
