import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import type { Socket } from 'node:net'
import { constants } from 'node:os'
import { Pid1Error } from './errors.ts'
import type { Hook } from './hook.ts'
import type { ShutdownReport } from './report.ts'
import { type HookStage, stages } from './stages.ts'

/** What `configure` takes. Times are in milliseconds. */
export interface ConfigureOptions {
  /**
   * How long the platform waits between its stop signal and SIGKILL. Default: `PID1_GRACE_PERIOD` (`10s`, `1500ms`, `2m`), else the
   * grace period of the detected platform, else 10 000.
   */
  readonly gracePeriodMs?: number | undefined
  /** Further signals that start a shutdown, for instance the container's STOPSIGNAL. Default: none. */
  readonly signals?: readonly NodeJS.Signals[] | undefined
  /** `false`: `shutdown()` resolves with the report, the process stays, and everything is reset. Meant for tests. Default: true. */
  readonly exit?: boolean | undefined
  /** `'signal'`: after a good shutdown by a signal the exit code is 128 + its number instead of 0. Default: `'zero'`. */
  readonly exitCode?: 'zero' | 'signal' | undefined
  /** Wait for orphans, which would stay zombies. Default: true as PID 1. `true` elsewhere: orphans are then re-parented to this process. */
  readonly reap?: boolean | undefined
  /** How long to wait before a dead orphan is reaped, so that someone else can still read its exit status. Default: 1000. */
  readonly reapAfterMs?: number | undefined
  /** `'terminate'`: end all descendants, not only the supervised ones, before the process exits. Default: `'terminate'` as PID 1. */
  readonly children?: 'terminate' | 'leave' | undefined
  /**
   * Which other listeners for the signals that start a shutdown wait for the end of the stage `flush`: `'libraries'`, those that a file
   * under `node_modules` has registered, or that were there before this package was imported; `'afterDrain'`, all; `'atOnce'`, none.
   * Default: `'libraries'`.
   */
  readonly otherListeners?: 'atOnce' | 'libraries' | 'afterDrain' | undefined
  /** `false`: print no warning at the first registration if PID 1 keeps SIGTERM from this process. Default: true. */
  readonly warnings?: boolean | undefined
  /** Print one line on stderr when a shutdown begins, and one when it is over. Default: false. */
  readonly summary?: boolean | undefined
  /** Called with the final report, just before the process exits. Must be synchronous: a promise that it returns is not awaited. */
  readonly onReport?: ((report: ShutdownReport) => void) | undefined
  /**
   * Called when a second Ctrl-C forces the end, just before the process exits, with the report so far. Must be synchronous. Not called
   * while the event loop is blocked.
   */
  readonly onForcedEnd?: ((report: ShutdownReport) => void) | undefined
  /** The default of every server's `lingerMs`. */
  readonly lingerMs?: number | undefined
  /** The default of every server's `endlessMs`. */
  readonly endlessMs?: number | undefined
  /** The default of every server's `spreadMs`. */
  readonly spreadMs?: number | undefined
  /** The default of every server's `closeCode`. */
  readonly closeCode?: number | undefined
  /** The default of every server's `drainDelayMs`. */
  readonly drainDelayMs?: number | undefined
  /** The default of every server's `whileDraining`. */
  readonly whileDraining?: 'serve' | 'refuse' | undefined
  /** The default of every server's `isEndless`. */
  readonly isEndless?: DrainOptions['isEndless']
}

/** What `drainOnShutdown` takes, for one server. Times are in milliseconds. */
export interface DrainOptions {
  /**
   * A connection that was used within this time stays open until it has been idle for this long. If requests keep arriving on
   * connections that were idle for longer, the time is extended up to fourfold. `Infinity`: an idle connection is not closed before the
   * end of the stage, but told with its next answer. Default: 1000.
   */
  readonly lingerMs?: number | undefined
  /** How long WebSockets, event streams and half requests have to close once they were asked to. Default: `lingerMs`. */
  readonly endlessMs?: number | undefined
  /**
   * Over how long WebSockets and event streams are asked to end, one after the other, so that not all clients reconnect at once. At most
   * a third of the time. Default: a millisecond for each.
   */
  readonly spreadMs?: number | undefined
  /**
   * Only for a server of `node:net` or `node:tls`: asks a client in the words of its protocol to go. Its connection is closed `endlessMs`
   * later. Without it, connections have the time of the stage to end by themselves.
   */
  readonly goodbye?: ((socket: Socket) => unknown) | undefined
  /** The code that WebSockets are closed with. 1012 (service restart) makes some clients reconnect sooner. Default: 1001 (going away). */
  readonly closeCode?: number | undefined
  /**
   * Keep accepting connections for this long after the signal, because balancers need time to notice. At most half of the time; if it
   * had to be shortened, one line on stderr says so. Default: 0; 5000 on Kubernetes.
   */
  readonly drainDelayMs?: number | undefined
  /**
   * What happens to requests that still arrive on open connections: they are answered, or refused with 503 and `Retry-After` (with
   * HTTP/2: with REFUSED_STREAM, which a client may retry). Default: `'serve'`.
   */
  readonly whileDraining?: 'serve' | 'refuse' | undefined
  /**
   * Returns whether the answer to a request has no end of its own. Such an answer is ended like an event stream: cleanly, or with 503
   * if it has not begun. Called once for each request, when the drain begins or when the request arrives later (with HTTP/2: for
   * requests of the compatibility API). `undefined` leaves the decision to the rule: an event stream that answers a GET has no end.
   */
  readonly isEndless?: ((request: IncomingMessage | Http2ServerRequest) => boolean | undefined) | undefined
  /**
   * Called when the last ordinary request is answered and no connection lingers: call a framework's own close here. A fifth of the
   * time (10 s at most) is reserved for it: requests that are not answered by then are cut. It gets the context of a hook.
   */
  readonly afterDrain?: Hook | undefined
}

/** What `onShutdown` takes. */
export interface HookOptions {
  /**
   * When the hook runs: while servers still accept (deregister), with their drain, after it, or at the very end (logs, telemetry).
   * Default: `'cleanup'`.
   */
  readonly stage?: HookStage | undefined
  /** Cut the hook after this many milliseconds, even if time is left. */
  readonly timeoutMs?: number | undefined
}

/** What `superviseChild` takes. */
export interface SuperviseOptions {
  /** The signal that asks this child to end. Default: `'SIGTERM'`. */
  readonly signal?: NodeJS.Signals | undefined
  /** Send SIGKILL after this many milliseconds, even if time is left. */
  readonly timeoutMs?: number | undefined
  /** The child is needed until the end (a proxy, a log shipper), so it is ended after the `flush` hooks. Default: false. */
  readonly sidecar?: boolean | undefined
  /**
   * The service shuts down when this child exits: with the exit code of the child, or 128 + the number of its signal; with 127 if its
   * program was not found, and 126 if it could not be started. Default: false.
   */
  readonly endsService?: boolean | undefined
  /** Signals that are forwarded to the child while it runs, and do not start a shutdown then: `['SIGHUP']` for a reload. */
  readonly forward?: readonly NodeJS.Signals[] | undefined
}

/** The options that were given. An option that is undefined counts as not given. */
export type Given<AllOptions> = {
  readonly [Name in keyof AllOptions]?: Exclude<AllOptions[Name], undefined>
}

/** Checks the options of `configure` and returns those that were given. Throws PID1_INVALID_OPTION. */
export function checkOptions(options: unknown): Given<ConfigureOptions> {
  return checkAll('configure', options, {
    gracePeriodMs: milliseconds,
    signals,
    exit: trueOrFalse,
    exitCode,
    reap: trueOrFalse,
    reapAfterMs: milliseconds,
    children: oneOf('terminate', 'leave'),
    otherListeners,
    warnings: trueOrFalse,
    summary: trueOrFalse,
    onReport: aFunction,
    onForcedEnd: aFunction,
    lingerMs: millisecondsOrForever,
    endlessMs: milliseconds,
    spreadMs: milliseconds,
    closeCode,
    drainDelayMs: milliseconds,
    whileDraining,
    isEndless: aFunction,
  })
}

/** Checks the options of `drainOnShutdown` and returns those that were given. Throws PID1_INVALID_OPTION. */
export function checkDrainOptions(options: unknown): Given<DrainOptions> {
  return checkAll('drainOnShutdown', options, {
    lingerMs: millisecondsOrForever,
    endlessMs: milliseconds,
    spreadMs: milliseconds,
    closeCode,
    drainDelayMs: milliseconds,
    whileDraining,
    isEndless: aFunction,
    goodbye: aFunction,
    afterDrain: aFunction,
  })
}

/** Checks the options of `onShutdown` and returns those that were given. Throws PID1_INVALID_OPTION. */
export function checkHookOptions(options: unknown): Given<HookOptions> {
  return checkAll('onShutdown', options, { stage: oneOf(...stagesOfHooks()), timeoutMs: milliseconds })
}

function stagesOfHooks(): string[] {
  return stages.filter(({ runs }) => runs !== 'ends processes').map(({ name }) => name)
}

/** Checks the options of `superviseChild` and returns those that were given. Throws PID1_INVALID_OPTION. */
export function checkSuperviseOptions(options: unknown): Given<SuperviseOptions> {
  return checkAll('superviseChild', options, {
    signal: endingSignal,
    timeoutMs: milliseconds,
    sidecar: trueOrFalse,
    endsService: trueOrFalse,
    forward: forwardable,
  })
}

/** Checks the object that `shutdown` was given and returns what is defined in it. Throws PID1_INVALID_OPTION. */
export function checkReason(reason: unknown): { readonly reason?: string; readonly exitCode?: number } {
  const isObject = typeof reason === 'object' && reason !== null && !isRevoked(reason)
  expectThat(isObject, 'the reason of `shutdown`', 'a string, an error or an object', reason, adviceForThrown)
  return checkAll('shutdown', reason, {
    reason: { expected: 'a string', holds: (value) => typeof value === 'string' },
    exitCode: {
      expected: 'a whole number from 0 to 255',
      holds: (value) => Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 255,
    },
  })
}

const adviceForThrown = ': where anything may have been thrown, write shutdown({ exitCode: 1 })'

/** Throws PID1_INVALID_OPTION with what was expected and what was given. */
export function expectThat(
  holds: boolean,
  what: string,
  expected: string,
  given: unknown,
  advice: string = '',
): asserts holds {
  if (!holds)
    throw new Pid1Error('PID1_INVALID_OPTION', `Expected ${what} to be ${expected}, got ${show(given)}${advice}`)
}

/** Whether a value is a revoked proxy. Every operation on such a proxy throws a TypeError, so each value is checked for this first. */
export function isRevoked(value: unknown): boolean {
  try {
    Array.isArray(value)
    return false
  } catch {
    return true
  }
}

/** `PID1_GRACE_PERIOD` in milliseconds, or undefined if it is not set. Throws PID1_INVALID_OPTION. */
export function gracePeriodOfEnvironment(): number | undefined {
  const text = textOf('PID1_GRACE_PERIOD', process.env['PID1_GRACE_PERIOD'])
  return text === undefined ? undefined : parseTime(text, '`PID1_GRACE_PERIOD`')
}

/** The options that environment variables give; `configure` wins over them. Throws PID1_INVALID_OPTION. */
export function optionsOfEnvironment(): Given<ConfigureOptions> {
  const disable = textOf('PID1_DISABLE', process.env['PID1_DISABLE'])
  if (disable !== undefined) parseSwitch(disable, '`PID1_DISABLE`')
  const given = Object.entries(variables()).flatMap(([name, [option, parse]]) => {
    const text = textOf(name, process.env[name])
    return text === undefined ? [] : [[option, parse(text, `\`${name}\``)] as const]
  })
  return Object.fromEntries(given)
}

/** Undefined where the variable is not set, is empty, or the library is turned off. */
function textOf(name: string, value: string | undefined): string | undefined {
  const isSet = value !== undefined && value.trim() !== ''
  return !isSet || (name !== 'PID1_DISABLE' && isDisabled()) ? undefined : value
}

/** `PID1_DISABLE=1` turns the whole library off: every call does nothing. Asked by the import, so a wrong value counts as unset here. */
export function isDisabled(): boolean {
  return /^\s*(1|true)\s*$/i.test(process.env['PID1_DISABLE'] ?? '')
}

type Parse = (text: string, what: string) => unknown

function variables(): Readonly<Record<string, readonly [option: keyof ConfigureOptions, parse: Parse]>> {
  return {
    PID1_DRAIN_DELAY: ['drainDelayMs', parseTime],
    PID1_LINGER: ['lingerMs', parseTimeOrForever],
    PID1_ENDLESS: ['endlessMs', parseTime],
    PID1_SPREAD: ['spreadMs', parseTime],
    PID1_WHILE_DRAINING: ['whileDraining', parseWord(whileDraining)],
    PID1_OTHER_LISTENERS: ['otherListeners', parseWord(otherListeners)],
    PID1_EXIT_CODE: ['exitCode', parseWord(exitCode)],
    PID1_SUMMARY: ['summary', parseSwitch],
    PID1_WARNINGS: ['warnings', parseSwitch],
  }
}

/** A time with a unit ("10s", "1500ms", "2m") or "0", in milliseconds. Throws PID1_INVALID_OPTION. */
function parseTime(text: string, what: string): number {
  const [, amount = 'NaN', unit = ''] = /^(\d+(?:\.\d+)?)\s*(ms|s|m)?$/.exec(text.trim().toLowerCase()) ?? []
  const value = Number(amount) * ({ s: 1000, m: 60_000 }[unit] ?? 1)
  expectThat(milliseconds.holds(value), what, 'a time such as "10s", "1500ms" or "2m"', text)
  expectThat(unit !== '' || value === 0, what, 'a time with a unit', text, `: write ${amount}s or ${amount}ms`)
  return value
}

function parseTimeOrForever(text: string, what: string): number {
  return text.trim().toLowerCase() === 'infinity' ? Infinity : parseTime(text, what)
}

function parseSwitch(text: string, what: string): boolean {
  const word = text.trim().toLowerCase()
  expectThat(['1', '0', 'true', 'false'].includes(word), what, '1 or 0', text)
  return word === '1' || word === 'true'
}

function parseWord(check: Check): Parse {
  return (text, what) => {
    expectThat(check.holds(text.trim()), what, check.expected, text)
    return text.trim()
  }
}

interface Check {
  readonly expected: string
  readonly holds: (value: unknown) => boolean
}

/** The longest time of a timer: Node turns anything longer into 1 ms. */
export const longestTimerMs: number = 2 ** 31 - 1

const milliseconds: Check = {
  expected: '0 or more milliseconds (at most 2147483647)',
  holds: (value) => typeof value === 'number' && value >= 0 && value <= longestTimerMs,
}

const millisecondsOrForever: Check = {
  expected: `${milliseconds.expected}, or Infinity`,
  holds: (value) => value === Infinity || milliseconds.holds(value),
}

// The codes that an endpoint may send: RFC 6455, section 7.4, and the registry of IANA.
const closeCode: Check = {
  expected: 'a code that a WebSocket may be closed with: 1000 to 1003, 1007 to 1014, or 3000 to 4999',
  holds: (value) => {
    const code = Number.isInteger(value) ? Number(value) : 0
    return (code >= 1000 && code <= 1014 && !(code >= 1004 && code <= 1006)) || (code >= 3000 && code <= 4999)
  },
}

const trueOrFalse: Check = { expected: 'true or false', holds: (value) => typeof value === 'boolean' }

const exitCode = oneOf('zero', 'signal')
const otherListeners = oneOf('atOnce', 'libraries', 'afterDrain')
const whileDraining = oneOf('serve', 'refuse')

const aFunction: Check = { expected: 'a function', holds: (value) => typeof value === 'function' }

// SIGKILL and SIGSTOP cannot be caught. After the next four no JavaScript is safe. The rest mean something else to Node.
const uncatchable = ['KILL', 'STOP', 'SEGV', 'BUS', 'FPE', 'ILL', 'CHLD', 'PROF', 'USR1', 'PIPE'].map((n) => `SIG${n}`)

const signals: Check = {
  expected: `a list of signals that can be listened to, such as ["SIGUSR2"] (not ${uncatchable.join(', ')})`,
  holds: (value) => Array.isArray(value) && value.every((name) => isSignal(name) && !uncatchable.includes(name)),
}

// SIGTERM and SIGINT stop the service. SIGUSR1 may be forwarded: a listener for it only keeps the signal from starting the debugger.
const notForwarded = ['SIGTERM', 'SIGINT', ...uncatchable.filter((name) => name !== 'SIGUSR1')]

const forwardable: Check = {
  expected: `a list of signals to pass on, such as ["SIGHUP"] (not ${notForwarded.join(', ')})`,
  holds: (value) => Array.isArray(value) && value.every((name) => isSignal(name) && !notForwarded.includes(name)),
}

// By default these signals stop a process, or do nothing, so the child would run until SIGKILL. SIGWINCH is not among them, although the
// kernel ignores it as well, because Apache's httpd uses it as the signal for a graceful stop.
const notEnding = ['STOP', 'TSTP', 'TTIN', 'TTOU', 'CONT', 'CHLD', 'URG'].map((name) => `SIG${name}`)

const endingSignal: Check = {
  expected: `the name of a signal that ends a process, such as "SIGTERM" (not ${notEnding.join(', ')})`,
  holds: (value) => isSignal(value) && !notEnding.includes(value),
}

function isSignal(value: unknown): value is NodeJS.Signals {
  return typeof value === 'string' && Object.hasOwn(constants.signals, value)
}

function oneOf(...values: string[]): Check {
  return {
    expected: values.map((value) => `"${value}"`).join(' or '),
    holds: (value) => typeof value === 'string' && values.includes(value),
  }
}

/** Reads every own property once, because a getter may return another value the next time. */
function checkAll(caller: string, options: unknown, checks: Readonly<Record<string, Check>>): Record<string, never> {
  const what = `the options of \`${caller}\``
  const isObject = typeof options === 'object' && options !== null && !isRevoked(options) && !Array.isArray(options)
  expectThat(isObject, what, 'an object', options)
  const given: [name: string, value: unknown][] = []
  for (const [name, value] of Object.entries(options as Record<string, unknown>)) {
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined
    const names = Object.keys(checks)
    expectThat(check !== undefined, what, `among ${names.join(', ')}`, name, suggestionFor(name, names))
    if (value === undefined) continue
    // A copy of a list is checked and kept: the app may change its list later, a getter may return another value, and `every` skips holes.
    const kept = !isRevoked(value) && Array.isArray(value) ? Array.from<unknown>(value) : value
    expectThat(!isRevoked(kept) && check.holds(kept), `\`${name}\``, check.expected, value)
    given.push([name, kept])
  }
  return Object.fromEntries(given) as Record<string, never>
}

/** The option that was probably meant, as a question; empty if none is similar. */
function suggestionFor(name: string, names: readonly string[]): string {
  const bare = bareName(name)
  const [nearest] = names
    .map((other) => ({ other, unlike: unlikeness(bare, bareName(other)) }))
    .filter(({ unlike }) => unlike <= 1 / 3)
    .toSorted((a, b) => a.unlike - b.unlike)
  return nearest === undefined ? '' : `: did you mean \`${nearest.other}\`?`
}

/** The name without case, separators and unit, so that "timeout_ms", "Timeout" and "timeoutMs" are alike. */
function bareName(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z]|ms$/g, '')
}

/** 0 for the same name, 1 for a name without a common letter; small if one name is a part of the other. */
function unlikeness(a: string, b: string): number {
  const [short = '', long = ''] = [a, b].toSorted((one, other) => one.length - other.length)
  if (short.length > 3 && long.includes(short)) return (long.length - short.length) / long.length / 3
  return editDistance(a, b) / Math.max(1, long.length)
}

/** Levenshtein's distance: how many letters have to be inserted, deleted or replaced. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (const [index, letter] of Array.from(a).entries()) {
    const next = [index + 1]
    for (const [column, other] of Array.from(b).entries()) {
      const [left = 0, above = 0, diagonal = 0] = [next[column], row[column + 1], row[column]]
      next.push(Math.min(left + 1, above + 1, diagonal + (letter === other ? 0 : 1)))
    }
    row = next
  }
  return row.at(-1) ?? 0
}

function show(value: unknown): string {
  if (isRevoked(value)) return 'a revoked proxy'
  const kind = typeof value
  if (kind === 'string') return `${JSON.stringify(value)} (string)`
  if (kind === 'number' || kind === 'boolean') return `${String(value)} (${kind})`
  // Not the fields of a class instance: they would fill a screen.
  const isInstance =
    value instanceof Object && kind === 'object' && !Array.isArray(value) && value.constructor !== Object
  return process.getBuiltinModule('node:util').inspect(value, { depth: isInstance ? -1 : 0 })
}
