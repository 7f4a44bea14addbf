import { constants } from 'node:os'
import { Pid1Error } from './errors.ts'
import type { ShutdownReport } from './report.ts'

/** What `configure` takes. Times are in milliseconds. */
export interface Options {
  /**
   * How long the platform waits between its stop signal and SIGKILL. Default: `PID1_GRACE_PERIOD` (`10s`, `1500ms`, or
   * plain milliseconds), else what the platform that was found gives, else 10 000.
   */
  readonly gracePeriodMs?: number
  /** More signals that start a shutdown, for instance the container's STOPSIGNAL. Default: none. */
  readonly signals?: readonly NodeJS.Signals[]
  /** `false`: `shutdown()` resolves with the report, nothing exits and all is reset. For tests. Default: true. */
  readonly exit?: boolean
  /** `'signal'`: a good shutdown by a signal ends with 128 + its number instead of 0. Default: `'zero'`. */
  readonly exitCode?: 'zero' | 'signal'
  /** Wait for orphans, which would stay zombies. Default: as PID 1. `true` elsewhere: they are this process's from then on. */
  readonly reap?: boolean
  /** A dead orphan is left alone for so long, for whoever may still ask for its status. Default: 1000. */
  readonly reapAfterMs?: number
  /** `'terminate'`: end all descendants, not only the supervised ones, before the process leaves. Default: as PID 1. */
  readonly children?: 'terminate' | 'leave'
  /** Called with the final report, just before the process leaves. Must be synchronous. */
  readonly onReport?: (report: ShutdownReport) => void
  /** The default of every server's `lingerMs`. */
  readonly lingerMs?: number
  /** The default of every server's `endlessMs`. */
  readonly endlessMs?: number
  /** The default of every server's `drainDelayMs`. */
  readonly drainDelayMs?: number
  /** The default of every server's `whileDraining`. */
  readonly whileDraining?: 'serve' | 'refuse'
}

/** What `drainOnShutdown` takes, for one server. Times are in milliseconds. */
export interface DrainOptions {
  /**
   * A connection that was used within this time stays open until it has been idle for so long. While requests come on others,
   * which had been idle for longer, it may be up to four times that. Default: 1000.
   */
  readonly lingerMs?: number
  /** How long WebSockets, event streams and silent connections have to go once they were told. Default: `lingerMs`. */
  readonly endlessMs?: number
  /**
   * Keep accepting connections for so long after the signal, for balancers that need time to notice. At most half of
   * the time there is. Default: 0; 5000 on Kubernetes.
   */
  readonly drainDelayMs?: number
  /**
   * What happens to requests that still arrive, on connections that are open: they are answered, or refused with 503 and
   * `Retry-After` (with HTTP/2: as a stream that may be sent again). Default: `'serve'`.
   */
  readonly whileDraining?: 'serve' | 'refuse'
  /**
   * Called when the last ordinary request is answered and no connection lingers: the place of a framework's own close. A fifth of
   * the time (10 s at most) is kept for it, so requests that are not answered by then are cut.
   */
  readonly afterDrain?: () => unknown
}

/** What `onShutdown` takes. */
export interface HookOptions {
  /** When the hook runs: with the servers' drain, after it, or at the very end (logs, telemetry). Default: `'cleanup'`. */
  readonly stage?: HookStage
  /** Cut the hook after this many milliseconds, even if there would be time left. */
  readonly timeoutMs?: number
}

/** What `superviseChild` takes. */
export interface SuperviseOptions {
  /** The signal that asks this child to end. Default: `'SIGTERM'`. */
  readonly signal?: NodeJS.Signals
  /** SIGKILL after so many milliseconds, even if there would be time left. */
  readonly timeoutMs?: number
  /** It is needed until the end (a proxy, a log shipper), so it is ended after the `flush` hooks. Default: false. */
  readonly sidecar?: boolean
  /** When this child ends, so does the service: with its exit code, or 128 + the number of its signal. Default: false. */
  readonly endsService?: boolean
}

/** The stages of a shutdown. */
export type StageName = HookStage | 'children' | 'sidecars'

/** The stages that a hook can be registered for. */
export type HookStage = 'intake' | 'cleanup' | 'flush'

/** The order of a shutdown. */
export const stageNames: readonly StageName[] = ['intake', 'cleanup', 'children', 'flush', 'sidecars']
const hookStages: readonly HookStage[] = ['intake', 'cleanup', 'flush']

/** Checks what `configure` was given. Throws PID1_INVALID_OPTION. */
export function checkOptions(options: unknown): asserts options is Options {
  checkAll('configure', options, {
    gracePeriodMs: milliseconds,
    signals,
    exit: trueOrFalse,
    exitCode: oneOf('zero', 'signal'),
    reap: trueOrFalse,
    reapAfterMs: milliseconds,
    children: oneOf('terminate', 'leave'),
    onReport: aFunction,
    lingerMs: milliseconds,
    endlessMs: milliseconds,
    drainDelayMs: milliseconds,
    whileDraining: oneOf('serve', 'refuse'),
  })
}

/** Checks what `drainOnShutdown` was given beside the server. Throws PID1_INVALID_OPTION. */
export function checkDrainOptions(options: unknown): asserts options is DrainOptions {
  checkAll('drainOnShutdown', options, {
    lingerMs: milliseconds,
    endlessMs: milliseconds,
    drainDelayMs: milliseconds,
    whileDraining: oneOf('serve', 'refuse'),
    afterDrain: aFunction,
  })
}

/** Checks what `onShutdown` was given beside the hook. Throws PID1_INVALID_OPTION. */
export function checkHookOptions(options: unknown): asserts options is HookOptions {
  checkAll('onShutdown', options, { stage: oneOf(...hookStages), timeoutMs: milliseconds })
}

/** Checks what `superviseChild` was given beside the child. Throws PID1_INVALID_OPTION. */
export function checkSuperviseOptions(options: unknown): asserts options is SuperviseOptions {
  checkAll('superviseChild', options, {
    signal: { expected: 'the name of a signal, such as "SIGTERM"', holds: isSignal },
    timeoutMs: milliseconds,
    sidecar: trueOrFalse,
    endsService: trueOrFalse,
  })
}

/** Checks what `shutdown` was given, where that is no word and no error. Throws PID1_INVALID_OPTION. */
export function checkReason(reason: unknown): asserts reason is { reason?: string; exitCode?: number } {
  checkAll('shutdown', reason, {
    reason: { expected: 'a string', holds: (value) => typeof value === 'string' },
    exitCode: {
      expected: 'a whole number from 0 to 255',
      holds: (value) => Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 255,
    },
  })
}

/** Throws PID1_INVALID_OPTION, saying what was expected and what came. */
export function expectThat(holds: boolean, what: string, expected: string, came: unknown): asserts holds {
  if (!holds) throw new Pid1Error('PID1_INVALID_OPTION', `Expected ${what} to be ${expected}, got ${show(came)}`)
}

/** `PID1_GRACE_PERIOD`, in milliseconds, or undefined where it is not set. Throws PID1_INVALID_OPTION. */
export function gracePeriodOfEnvironment(): number | undefined {
  const text = process.env['PID1_GRACE_PERIOD']
  if (text === undefined || text.trim() === '' || isDisabled()) return undefined
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s)?$/.exec(text.trim()) ?? []
  const value = Number(amount) * (unit === 's' ? 1000 : 1)
  expectThat(milliseconds.holds(value), '`PID1_GRACE_PERIOD`', 'a time such as "10s", "1500ms" or "1500"', text)
  return value
}

/** `PID1_DISABLE=1` turns the whole library off: every call does nothing. */
export function isDisabled(): boolean {
  return process.env['PID1_DISABLE'] === '1'
}

interface Check {
  readonly expected: string
  readonly holds: (value: unknown) => boolean
}

// Node's timers turn anything larger into 1 ms.
const longestTimerMs = 2 ** 31 - 1

const milliseconds: Check = {
  expected: '0 or more milliseconds (at most 2147483647)',
  holds: (value) => typeof value === 'number' && value >= 0 && value <= longestTimerMs,
}

const trueOrFalse: Check = { expected: 'true or false', holds: (value) => typeof value === 'boolean' }

const aFunction: Check = { expected: 'a function', holds: (value) => typeof value === 'function' }

// SIGKILL and SIGSTOP cannot be caught; no JavaScript is safe after the next four; the rest mean something else to Node.
const uncatchable = ['KILL', 'STOP', 'SEGV', 'BUS', 'FPE', 'ILL', 'CHLD', 'PROF', 'USR1', 'PIPE'].map((n) => `SIG${n}`)

const signals: Check = {
  expected: `a list of signals that can be listened to, such as ["SIGUSR2"] (not ${uncatchable.join(', ')})`,
  holds: (value) => Array.isArray(value) && value.every((name) => isSignal(name) && !uncatchable.includes(name)),
}

function isSignal(value: unknown): value is NodeJS.Signals {
  return typeof value === 'string' && value in constants.signals
}

function oneOf(...values: string[]): Check {
  return {
    expected: values.map((value) => `"${value}"`).join(' or '),
    holds: (value) => typeof value === 'string' && values.includes(value),
  }
}

function checkAll(caller: string, options: unknown, checks: Readonly<Record<string, Check>>): void {
  const what = `the options of \`${caller}\``
  expectThat(typeof options === 'object' && options !== null && !Array.isArray(options), what, 'an object', options)
  for (const [name, value] of Object.entries(options)) {
    const check = checks[name]
    expectThat(check !== undefined, what, `among ${Object.keys(checks).join(', ')}`, name)
    expectThat(value === undefined || check.holds(value), `\`${name}\``, check.expected, value)
  }
}

function show(value: unknown): string {
  const kind = typeof value
  if (kind === 'string') return `${JSON.stringify(value)} (string)`
  if (kind === 'number' || kind === 'boolean') return `${String(value)} (${kind})`
  // What an instance is made of would fill a screen.
  const isInstance =
    value instanceof Object && kind === 'object' && !Array.isArray(value) && value.constructor !== Object
  return process.getBuiltinModule('node:util').inspect(value, { depth: isInstance ? -1 : 0 })
}
