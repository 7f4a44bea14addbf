import { countWhenEmpty } from '../exit/before-exit.ts'
import { decideExitCode, exitCodeOfApp, exitCodeOfSignal } from '../exit/exit-code.ts'
import { exit, isExitingNaturally } from '../exit/exit.ts'
import { hasWork } from '../hooks/run-in-turn.ts'
import { debug, printError } from '../log.ts'
import { belongsToApp } from '../signals/signal-owner.ts'
import { causeOf, recordError } from '../running.ts'
import { begin } from '../shutdown.ts'
import type { Arrival } from '../signals/arrival.ts'
import { forceExit, isSecondCtrlC } from '../signals/second-ctrl-c.ts'
import { stages } from '../stages.ts'
import { type Cause, type Running, state, waitingHooks } from '../state.ts'
import { staysAlive } from '../stay-alive.ts'

/** A signal has arrived that starts a shutdown. */
export function onStopSignal(arrival: Arrival): void {
  const { signal, arrivedAt, fromTerminal } = arrival
  if (state.running !== undefined) onFurtherSignal(state.running, arrival)
  else begin({ trigger: 'signal', reason: signal, signal, arrivedAt, fromTerminal })
}

/** Platforms may send SIGTERM several times. Only a second Ctrl-C changes a shutdown. */
function onFurtherSignal(running: Running, arrival: Arrival): void {
  if (isExitingNaturally()) return exit(decideExitCode(running)) // something has revived the empty event loop
  if (running.endOfApp !== undefined && arrival.isFromSelf && !belongsToApp(arrival.signal)) {
    running.raised = arrival.signal
    running.endOfApp()
  }
  running.firstSignalAt ??= arrival.arrivedAt
  if (isSecondCtrlC(arrival, running)) forceExit(running)
}

/** As PID 1: a signal has arrived that would have ended an ordinary process. */
export function onFatalSignal(signal: NodeJS.Signals): void {
  debug('signals', '%s ends the process, as it would have done if it were not PID 1', signal)
  exit(exitCodeOfSignal(signal))
}

/** A child, or the primary of this cluster worker, has ended. During a shutdown that says nothing new: the shutdown ends children itself. */
export function beginOnce(reason: string, exitCode: number): void {
  if (state.running === undefined) begin({ ...causeOf('call'), reason, ...(exitCode === 0 ? {} : { exitCode }) })
}

/** PM2 has sent its message "shutdown". */
export function onShutdownMessage(): void {
  const cause = { ...causeOf('call'), reason: 'message "shutdown" of PM2' }
  if (state.running === undefined) begin(cause)
  else joinShutdown(state.running, cause)
}

/**
 * A further call of `shutdown` adds its error, and its exit code where there is none yet. Where something has revived the empty event
 * loop, the call ends the process, as a signal does.
 */
export function joinShutdown(running: Running, cause: Cause): Running {
  running.exitCode ??= cause.exitCode
  if ('error' in cause && !running.errors.includes(cause.error)) {
    printError('Given to shutdown() during the shutdown:', cause.error)
    running.failed ||= isExitingNaturally()
    recordError(running, cause.error)
  }
  if (isExitingNaturally()) exit(decideExitCode(running))
  return running
}

/**
 * The event loop ran empty. Where the process stays alive, each shutdown makes the loop run empty once more, so a shutdown only begins
 * where hooks wait.
 */
export function onEmptyLoop(): void {
  if (state.running !== undefined) return
  if (state.unaware !== undefined && stages.every(({ name }) => !hasWork(name))) return
  if (staysAlive() && waitingHooks().length === 0) return
  countWhenEmpty()
  begin(causeOf('empty event loop'))
}

/** An error was uncaught, and was printed. */
export function onUncaughtError(error: unknown): void {
  if (isExitingNaturally()) return exit(exitCodeOfApp() || 1)
  if (state.running === undefined) return void begin({ ...causeOf('uncaught error'), error })
  const counts = recordError(state.running, error)
  state.running.uncaught ||= counts
  state.running.endOfApp?.()
}
