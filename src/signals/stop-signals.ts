import { debug } from '../log.ts'
import { sendSignal } from '../platform/processes.ts'
import { isPid1, isWorker } from '../platform/this-process.ts'
import { state } from '../state.ts'
import { type Arrival, takeArrival } from './arrival.ts'
import { keepListeners, listen } from './our-listeners.ts'
import { childrenFor, endsProcess, fatalSignals, isFatal, stopSignals } from './signal-owner.ts'

/** Called with a signal that starts a shutdown, and with one whose default action is to terminate. */
export interface SignalCallbacks {
  readonly onStopSignal: (arrival: Arrival) => void
  readonly onFatalSignal: (signal: NodeJS.Signals) => void
}

let callbacks: SignalCallbacks | undefined

/** At the first registration. */
export function listenForStopSignals(given: SignalCallbacks): void {
  if (isWorker()) return debug('signals', 'no signals in a worker thread: call shutdown() by hand')
  callbacks = given
  keepListeners()
  listenFor(stopSignals)
  // An app that does not know this package is not to die as PID 1 of what the kernel would have dropped.
  if (isPid1() && state.unaware === undefined) listenFor(fatalSignals)
  listenForConfiguredSignals()
}

/** Before the first registration: the arrival is only recorded. */
export function listenEarly(signals: readonly NodeJS.Signals[], onStopSignal: SignalCallbacks['onStopSignal']): void {
  callbacks = { onStopSignal, onFatalSignal: () => {} }
  listenFor(signals)
}

/** `configure({ signals })` may come after the first registration. */
export function listenForConfiguredSignals(): void {
  listenFor(state.options.signals)
}

/** `superviseChild(child, { forward })`: called when a child is supervised, and when it is no longer supervised. */
export function listenForForwarded(signals: readonly NodeJS.Signals[] | undefined): void {
  listenFor(signals)
}

function listenFor(signals: readonly NodeJS.Signals[] = []): void {
  if (callbacks === undefined) return
  // Not by the listener's argument: an app that emits a signal, as readline's idiom does, may omit it.
  for (const signal of signals) listen(signal, () => handle(signal))
}

/** Called by Node when a signal arrives, and for one that arrived before this package was imported. */
export function handle(signal: NodeJS.Signals): void {
  const arrival = takeArrival(signal)
  for (const { pid } of childrenFor(signal)) if (pid !== undefined) sendSignal(pid, signal)
  if (!endsProcess(signal)) return
  if (isFatal(signal)) return callbacks?.onFatalSignal(signal)
  debug('signals', '%s arrived', signal)
  callbacks?.onStopSignal(arrival)
}
