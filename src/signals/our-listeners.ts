import { debug } from '../log.ts'
import { isDisabled } from '../options.ts'
import { isWorker } from '../platform/this-process.ts'
import { deferOthers, isMarked, markAsOurs, rememberPlace } from './other-listeners.ts'
import { watchSignal } from './watchdog.ts'

const ours = new Map<NodeJS.Signals, () => void>()
let limitRaised = false

const anyEvent: NodeJS.EventEmitter = process

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
  if (!isWorker() && !isDisabled()) anyEvent.on('newListener', onNewListener)
}

/** Exchanges the listeners of packages: at the first registration, and when the options have changed. */
export function deferAllOthers(): void {
  for (const signal of ours.keys()) deferOthers(signal)
}

/** Puts our listeners back when the app removes them, and asks again whether a signal is ours when the app adds or removes a listener. */
export function keepListeners(): void {
  if (!anyEvent.listeners('newListener').includes(onNewListener)) anyEvent.on('newListener', onNewListener)
  // Before Node's own: with no listener left Node would close its handle, and drop a signal that has arrived and is not emitted yet.
  if (!anyEvent.listeners('removeListener').includes(onRemovedListener)) {
    anyEvent.prependListener('removeListener', onRemovedListener)
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

/**
 * A listener that was added by `prependListener` must not run before ours. Ours is never gone meanwhile: without a listener the signal
 * would have its default action.
 */
function moveToFront(signal: NodeJS.Signals, listener: () => void): void {
  const [first] = anyEvent.rawListeners(signal)
  if (first === undefined || isMarked(first)) return
  anyEvent.prependListener(signal, listener)
  anyEvent.removeListener(signal, listener) // of two, the second one
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
