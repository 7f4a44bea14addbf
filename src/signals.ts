import { constants } from 'node:os'
import { isPid1, isWorker } from './environment.ts'
import { note } from './log.ts'
import { isDisabled } from './options.ts'
import { noteRegistration, state } from './state.ts'
import { arrivalOfSignal, watchSignal } from './watchdog.ts'

/** A stop signal, and when it arrived (`performance.now()`). */
export interface Arrival {
  readonly signal: NodeJS.Signals
  readonly arrivedAt: number
}

/** Who is told: of the first stop signal, of every further one, and of one that would have ended an ordinary process. */
export interface SignalListener {
  readonly first: (arrival: Arrival) => void
  readonly further: (signal: NodeJS.Signals) => void
  readonly fatal: (signal: NodeJS.Signals, code: number) => void
}

/**
 * On import, as PID 1 only: a signal during start-up is lost for good, as PID 1 has no default actions. So it is noted
 * here, and the shutdown starts when something was registered.
 */
export function noteEarlySignals(): void {
  if (!isPid1() || isWorker() || isDisabled()) return
  const swallowed = swallowedBeforeImport()
  listen('SIGTERM')
  listen('SIGINT')
  if (swallowed !== undefined) handle(swallowed)
}

/** At the first registration: never `once`, and never removed by us, because PID 1 without a listener is deaf. */
export function listenForSignals(told: SignalListener): void {
  if (isWorker()) return note('signals', 'no signals in a worker thread: call shutdown() by hand')
  listener = told
  process.on('removeListener', putBack)
  for (const signal of stopSignals) listen(signal)
  if (isPid1()) for (const signal of fatalSignals) listen(signal)
  listenForConfiguredSignals()
  const noted = early
  // A turn later: what registered first need not be all that registers.
  if (noted !== undefined) setImmediate(() => told.first(noted))
}

/** `configure({ signals })` may come after the first registration. */
export function listenForConfiguredSignals(): void {
  if (listener === undefined) return
  for (const signal of state.options.signals ?? []) listen(signal)
}

/** Tells of children that have ended. Several that end at once may be told of as one. */
export function listenForChildren(told: () => void): void {
  listenWith('SIGCHLD', told)
}

const stopSignals: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGPWR']

/** They end an ordinary process; for PID 1 the kernel does not act on them. */
const fatalSignals: readonly NodeJS.Signals[] = ['SIGUSR2', 'SIGALRM', 'SIGVTALRM', 'SIGIO', 'SIGSTKFLT', 'SIGXCPU']

/** They are ours whatever the app listens to, and so are those that were configured. */
const alwaysOurs: ReadonlySet<NodeJS.Signals> = new Set(['SIGTERM', 'SIGINT'])

const listenedTo = new Map<NodeJS.Signals, (signal: NodeJS.Signals) => void>()
let listener: SignalListener | undefined
let early: Arrival | undefined
let lastSignalAt = -Infinity

/** In front of the app's own: a shutdown must be under way when the app's handler calls `process.exit`. */
function listen(signal: NodeJS.Signals): void {
  listenWith(signal, handle)
  if (isOurs(signal)) watchSignal(signal)
}

function listenWith(signal: NodeJS.Signals, heard: (signal: NodeJS.Signals) => void): void {
  if (process.listeners(signal).includes(heard)) return
  listenedTo.set(signal, heard)
  try {
    process.prependListener(signal, heard)
  } catch (error) {
    note('signals', 'cannot listen to %s here: %o', signal, error) // Windows knows only a few
  }
}

/** `process.removeAllListeners('SIGTERM')` would leave PID 1 deaf, and take away what the watchdog is chained to. */
function putBack(signal: string | symbol, removed: unknown): void {
  if (typeof signal !== 'string' || removed === undefined) return
  const name = signal as NodeJS.Signals
  if (listenedTo.get(name) !== removed) return
  if (removed === handle) listen(name)
  else listenWith(name, removed as () => void)
}

function isOurs(signal: NodeJS.Signals): boolean {
  return alwaysOurs.has(signal) || (state.options.signals?.includes(signal) ?? false)
}

function handle(signal: NodeJS.Signals): void {
  const now = performance.now()
  // npm, tsx, nodemon and the like pass on one Ctrl-C as up to three signals.
  const isRepetition = now - lastSignalAt < 100
  if (!isOurs(signal) && belongsToApp(signal)) return
  if (!isOurs(signal) && fatalSignals.includes(signal)) return endAtOnce(signal)
  lastSignalAt = now
  note('signals', '%s arrived', signal)
  if (listener === undefined) noteEarly({ signal, arrivedAt: arrivalOfSignal() })
  else if (state.running === undefined) listener.first({ signal, arrivedAt: arrivalOfSignal() })
  else if (!isRepetition) listener.further(signal)
}

/** A signal that the app listens to itself stays the app's. */
function belongsToApp(signal: NodeJS.Signals): boolean {
  return process.listenerCount(signal) - 1 - listenersOfSignalExit() > 0
}

/** The listeners that signal-exit adds to nearly every signal are no sign that the app wants them. Versions 4 and 3. */
function listenersOfSignalExit(): number {
  const version4 = (globalThis as Record<symbol, { count?: number } | undefined>)[Symbol.for('signal-exit emitter')]
  const version3 = (process as { __signal_exit_emitter__?: { count?: number } }).__signal_exit_emitter__
  return (version4?.count ?? 0) + (version3?.count ?? 0)
}

function endAtOnce(signal: NodeJS.Signals): void {
  listener?.fatal(signal, 128 + constants.signals[signal])
}

function noteEarly(arrival: Arrival): void {
  if (early !== undefined) return
  early = arrival
  // When nothing registers within a second after the last import, there is nothing to wait for.
  setTimeout(noteRegistration, 1000)
}

/**
 * Node catches SIGINT and SIGTERM itself, once, until somebody listens. The bit of one that came already is clear, while
 * the other's is still set. (Both clear means that listeners came and went.)
 */
function swallowedBeforeImport(): NodeJS.Signals | undefined {
  const untouched = process.listenerCount('SIGTERM') === 0 && process.listenerCount('SIGINT') === 0
  const caught = untouched ? caughtSignals() : undefined
  if (caught === undefined) return undefined
  const [term, int] = [isIn(caught, 'SIGTERM'), isIn(caught, 'SIGINT')]
  if (term === int) return undefined
  return term ? 'SIGINT' : 'SIGTERM'
}

function caughtSignals(): bigint | undefined {
  try {
    const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(
      process.getBuiltinModule('node:fs').readFileSync('/proc/self/status', 'utf8'),
    )?.[1]
    return mask === undefined ? undefined : BigInt(`0x${mask}`)
  } catch {
    return undefined // /proc hidden or not permitted
  }
}

function isIn(mask: bigint, signal: NodeJS.Signals): boolean {
  return ((mask >> BigInt(constants.signals[signal] - 1)) & 1n) === 1n
}
