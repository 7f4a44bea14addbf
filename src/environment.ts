import type { Cluster } from 'node:cluster'
import type { ClockOptions } from './deadline.ts'
import { native } from './native.ts'
import { gracePeriodOfEnvironment } from './options.ts'
import { findPlatform } from './platforms.ts'
import { state } from './state.ts'

/** Where this process runs, and what follows from it. */
export interface Environment {
  readonly pid1: boolean
  /** The name of the process that is PID 1 (`tini`, `sh`, `systemd` …); undefined when it is this one or cannot be seen. */
  readonly init: string | undefined
  readonly container: 'docker' | 'podman' | 'kubernetes' | undefined
  /** The platform whose marker was found, for instance `kubernetes` or `fly`. */
  readonly platform: string | undefined
  /** How long the platform waits between its stop signal and SIGKILL, in milliseconds. */
  readonly gracePeriodMs: number
  /** Where `gracePeriodMs` is from. */
  readonly gracePeriodSource: 'configure' | 'environment' | 'platform' | 'default'
  /** Whether the native part is loaded, which the reaper and the watchdog need. */
  readonly native: boolean
  /** What keeps a stop signal from being handled well here, and what to change. */
  readonly warnings: readonly string[]
}

/** Is this process PID 1 of its container (or PID namespace)? PID 1 has no default signal actions. */
export function isPid1(): boolean {
  return process.pid === 1
}

/**
 * Only the main thread gets signals and may end the process. By `process.chdir.disabled`, which Node sets in a worker, for
 * there it throws: `node:worker_threads` would take a fifth of this package's import time, and a third of a megabyte.
 */
export function isWorker(): boolean {
  const { chdir } = process as { chdir: { disabled?: boolean } }
  return chdir.disabled === true
}

/** What a clock must know of the place. */
export function clockOptions(): ClockOptions {
  return { endless: isInteractive() && isDebugged(), awaited: isClusterWorker() }
}

/** Node's cluster has forked it, and its primary stops it. */
export function isClusterWorker(): boolean {
  // Loaded only where there is a channel to a parent, as every cluster worker has.
  return process.connected && cluster().isWorker
}

/** Node's module, which takes its time to load. */
export function cluster(): Cluster {
  return process.getBuiltinModule('node:cluster') as unknown as Cluster
}

/** Where this process runs. Throws PID1_INVALID_OPTION when `PID1_GRACE_PERIOD` cannot be understood. */
export function environment(): Environment {
  const container = findContainer()
  const init = isPid1() ? undefined : nameOfPid1()
  return {
    pid1: isPid1(),
    init,
    container,
    platform: platformName(),
    ...gracePeriod(),
    native: native() !== undefined,
    warnings: warningsFor(init, container),
  }
}

/** The name of the platform whose marker was found. */
export function platformName(): string | undefined {
  return findPlatform(process.env)?.name
}

/** The grace period, and who said so. */
export function gracePeriod(): Pick<Environment, 'gracePeriodMs' | 'gracePeriodSource'> {
  const configured = state.options.gracePeriodMs
  if (configured !== undefined) return { gracePeriodMs: configured, gracePeriodSource: 'configure' }
  const given = gracePeriodOfEnvironment()
  if (given !== undefined) return { gracePeriodMs: given, gracePeriodSource: 'environment' }
  const usual = findPlatform(process.env)?.gracePeriodMs(process.env)
  if (usual !== undefined) return { gracePeriodMs: usual, gracePeriodSource: 'platform' }
  return { gracePeriodMs: 10_000, gracePeriodSource: 'default' }
}

/** A person sits in front of it, or a watcher restarts it at every save: nobody is to be kept waiting. */
export function isInteractive(): boolean {
  if (isPid1()) return false
  return hasTerminal() || isWatched()
}

/** Is the standard input a terminal? */
export function hasTerminal(): boolean {
  return process.getBuiltinModule('node:tty').isatty(0)
}

/** `node --watch` sets it for its child. */
function isWatched(): boolean {
  return process.env['WATCH_REPORT_DEPENDENCIES'] !== undefined
}

/** Is a debugger's port open? Then a person may be looking at a breakpoint, and time does not count. */
function isDebugged(): boolean {
  // A Node that was built without an inspector has no such module.
  return process.getBuiltinModule('node:inspector')?.url() !== undefined
}

function findContainer(): Environment['container'] {
  if (process.env['KUBERNETES_SERVICE_HOST'] !== undefined) return 'kubernetes'
  if (process.env['container'] === 'podman' || exists('/run/.containerenv')) return 'podman'
  return exists('/.dockerenv') ? 'docker' : undefined
}

function nameOfPid1(): string | undefined {
  try {
    return process.getBuiltinModule('node:fs').readFileSync('/proc/1/comm', 'utf8').trim()
  } catch {
    return undefined // not Linux, /proc hidden, or not permitted
  }
}

const deafInits = new Set(['sh', 'dash', 'ash', 'bash', 'busybox', 'npm', 'npm start', 'npm run start', 'yarn', 'pnpm'])

function warningsFor(init: string | undefined, container: Environment['container']): string[] {
  const warnings = []
  if (container !== undefined && init !== undefined && deafInits.has(init)) {
    warnings.push(
      `PID 1 is ${init}, which does not pass SIGTERM on in time: start node itself, with CMD ["node", "server.js"]`,
    )
  }
  if (isPid1() && native() === undefined) {
    warnings.push('No native part: orphans are not reaped, and a blocked event loop or thread pool delays the exit')
  }
  return warnings
}

function exists(path: string): boolean {
  try {
    return process.getBuiltinModule('node:fs').existsSync(path)
  } catch {
    return false // not permitted (--permission)
  }
}
