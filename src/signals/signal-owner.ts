import { state, type SupervisedChild } from '../state.ts'

/** They shut an ordinary process and PID 1 down. */
export const stopSignals: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGPWR']

/** They end an ordinary process at once. The kernel does not let them end PID 1. */
export const fatalSignals: readonly NodeJS.Signals[] = [
  'SIGUSR2',
  'SIGALRM',
  'SIGVTALRM',
  'SIGIO',
  'SIGSTKFLT',
  'SIGXCPU',
]

/** Always handled, even if the app listens too. So are the configured ones. */
const alwaysOurs: ReadonlySet<NodeJS.Signals> = new Set(['SIGTERM', 'SIGINT'])

/**
 * Whether the signal ends this process: it is not passed on to a child, and the app does not handle it. `added` listeners are about to
 * be registered.
 */
export function endsProcess(signal: NodeJS.Signals, added = 0): boolean {
  if (childrenFor(signal).length > 0 || isOnlyPassedOn(signal)) return false
  return isOurs(signal) || !belongsToApp(signal, added)
}

/** Whether the signal ends this process without a shutdown. */
export function isFatal(signal: NodeJS.Signals): boolean {
  return !isOurs(signal) && fatalSignals.includes(signal)
}

/** Whether the app listens to the signal itself: such a signal stays the app's. */
export function belongsToApp(signal: NodeJS.Signals, added = 0): boolean {
  return process.listenerCount(signal) + added - 1 - listenersOfSignalExit() > 0
}

/** The supervised children to which the signal is passed on. */
export function childrenFor(signal: NodeJS.Signals): SupervisedChild[] {
  return [...state.supervised].flatMap(([child, { forward }]) => (forward?.includes(signal) === true ? child : []))
}

/** Such as SIGUSR1 or SIGWINCH: it means nothing to this process, also when the child that wanted it has ended. */
function isOnlyPassedOn(signal: NodeJS.Signals): boolean {
  return !isOurs(signal) && !stopSignals.includes(signal) && !fatalSignals.includes(signal)
}

/** Whether the signal shuts the process down even if the app listens to it. */
export function isOurs(signal: NodeJS.Signals): boolean {
  return alwaysOurs.has(signal) || (state.options.signals?.includes(signal) ?? false)
}

/**
 * signal-exit adds a listener to nearly every signal, which does not mean that the app handles the signal. Needs the counts that
 * versions 4 and 3 keep at a global symbol and on `process`; where they are missing, and signal-exit is loaded, only SIGTERM, SIGINT and
 * configured signals start a shutdown: the process ignores SIGHUP, SIGQUIT and SIGPWR.
 */
function listenersOfSignalExit(): number {
  const version4 = (globalThis as Record<symbol, { count?: number } | undefined>)[Symbol.for('signal-exit emitter')]
  const version3 = (process as { __signal_exit_emitter__?: { count?: number } }).__signal_exit_emitter__
  return (version4?.count ?? 0) + (version3?.count ?? 0)
}
