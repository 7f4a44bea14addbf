import { debug } from '../log.ts'
import { isWorker } from '../platform/this-process.ts'
import { deferOthers, isMarked, markAsOurs, rememberPlace } from './other-listeners.ts'
import { watchSignal } from './watchdog.ts'

const ours = new Map<NodeJS.Signals, () => void>()
let limitRaised = false

const anyEvent: NodeJS.EventEmitter = process

const listenersOfNode = findListenersOfNode()

/**
 * Adds our listener for a signal: never `once`, and never removed by us, because PID 1 without a listener ignores the signal. It runs
 * before the app's own listeners, because the shutdown must be under way when one of them calls `process.exit`.
 */
export function listen(signal: NodeJS.Signals, listener: () => void): void {
  add(signal, ours.get(signal) ?? listener)
  watchSignal(signal)
}

/** From the import on, because only then it is known which code registers a listener. */
export function watchNewListeners(): void {
  if (!isWorker()) anyEvent.on('newListener', onNewListener)
}

/** Exchanges the listeners of packages: at the first registration, and when the options have changed. */
export function deferAllOthers(): void {
  for (const signal of ours.keys()) deferOthers(signal)
}

/** Puts our listeners back when the app removes them, and asks again whether a signal is ours when the app adds or removes a listener. */
export function keepListeners(): void {
  for (const [event, listener] of [
    ...listenersOfNode,
    ['newListener', onNewListener],
    ['removeListener', onRemovedListener],
  ] as const) {
    if (!anyEvent.listeners(event).includes(listener)) anyEvent.on(event, listener)
  }
}

/** After a reset, a signal that was configured or passed on may belong to the app, or to us. */
export function rewatchSignals(): void {
  for (const signal of ours.keys()) watchSignal(signal)
}

/**
 * Where the app has ten listeners, ours must not be the eleventh, of which Node warns as a leak. We have three for 'exit', and
 * signal-exit adds one to every signal.
 */
export function allowOurListeners(): void {
  const most = process.getMaxListeners()
  if (!limitRaised && most !== 0) process.setMaxListeners(most + 3)
  limitRaised = true
}

/** Called when children have exited. The kernel may send one SIGCHLD for several. */
export function listenForChildExits(onChildExit: () => void): void {
  add('SIGCHLD', onChildExit)
}

/**
 * Finds the listeners by which Node starts and stops to catch a signal: `process.removeAllListeners()` without a name removes them too.
 * Needs them by the names of their functions; where Node has other names, no stop signal starts a shutdown after such a call: PID 1
 * ignores it, and any other process is ended by it.
 */
function findListenersOfNode(): readonly (readonly [event: string, listener: () => void])[] {
  return ['newListener', 'removeListener'].flatMap((event) =>
    (anyEvent.listeners(event) as (() => void)[])
      .filter(({ name }) => name === 'startListeningIfSignal' || name === 'stopListeningIfSignal')
      .map((listener) => [event, listener] as const),
  )
}

function add(signal: NodeJS.Signals, listener: () => void): void {
  if (process.listeners(signal).includes(listener)) return
  ours.set(signal, markAsOurs(listener))
  try {
    process.prependListener(signal, listener)
  } catch (error) {
    debug('signals', 'cannot listen to %s here: %o', signal, error) // Windows knows only a few
  }
}

/**
 * Node emits this before it adds the listener. signal-exit changes its count before or after it adds its listeners, so the signal is
 * looked at again after both.
 */
function onNewListener(event: string | symbol, added: unknown): void {
  rememberPlace(event, added, onNewListener)
  const signal = event as NodeJS.Signals
  const listener = ours.get(signal)
  if (listener === undefined || listener === added) return
  watchSignal(signal, 1)
  queueMicrotask(() => {
    watchSignal(signal)
    deferOthers(signal)
    moveToFront(signal, listener)
  })
}

/** A listener that was added by `prependListener` must not run before ours. Removing ours puts it back as the first one. */
function moveToFront(signal: NodeJS.Signals, listener: () => void): void {
  const [first] = anyEvent.rawListeners(signal)
  if (first !== undefined && !isMarked(first)) anyEvent.removeListener(signal, listener)
}

/** After `process.removeAllListeners('SIGTERM')` PID 1 would ignore SIGTERM, and the native part would not see it. */
function onRemovedListener(event: string | symbol, removed: unknown): void {
  if (removed === onNewListener) queueMicrotask(restoreAll) // all listeners of all events are being removed
  const signal = event as NodeJS.Signals
  const listener = ours.get(signal)
  if (listener === undefined || removed === undefined) return
  if (removed === listener) add(signal, listener)
  watchSignal(signal)
  queueMicrotask(() => watchSignal(signal))
}

function restoreAll(): void {
  keepListeners()
  for (const [signal, listener] of ours) add(signal, listener)
  rewatchSignals()
}
