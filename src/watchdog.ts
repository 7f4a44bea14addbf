import { constants } from 'node:os'
import { type Clock, startClock } from './deadline.ts'
import { clockOptions, gracePeriod } from './environment.ts'
import { note } from './log.ts'
import { native } from './native.ts'
import { type RunningStage, state } from './state.ts'

/**
 * While the event loop is blocked no JavaScript keeps a deadline. The native part notes the arrival of these signals and
 * starts the clock before Node hears of them. Only of signals that are ours whatever the app listens to: C cannot know.
 */
export function watchSignal(signal: NodeJS.Signals): void {
  const error = native()?.watchSignal(constants.signals[signal])
  if (error !== undefined && error !== 0) note('watchdog', 'cannot watch %s: %d', signal, error)
}

/** From now on a process that gets a stop signal is ended when its time is up, even if its loop never turns again. */
export function prepareWatchdog(): void {
  if (state.running !== undefined || native() === undefined) return
  const clock = startClock(gracePeriod().gracePeriodMs, 0, clockOptions())
  native()?.setWatchdog(toTimer(clock.watchdogAt))
}

/** When the signal that C has noted arrived, as `performance.now()`; now, where it has noted none. */
export function arrivalOfSignal(): number {
  return performance.now() - Math.max(0, native()?.ageOfArrival() ?? 0)
}

/** A shutdown has begun, whatever its cause: by now its clock is known. */
export function startWatchdog(clock: Clock): void {
  if (native() === undefined) return
  native()?.startWatchdog(toTimer(Math.max(1, clock.watchdogAt - performance.now())))
  heartbeat = setInterval(() => tellStep(state.running?.stages.at(-1)), heartbeatMs).unref()
}

/** The process lives on. */
export function stopWatchdog(): void {
  clearInterval(heartbeat)
  native()?.stopWatchdog()
}

/** What the watchdog would name as the last thing that was seen to run. */
export function tellStep(stage: RunningStage | undefined): void {
  if (stage === undefined) return
  const names = stage.hooks.filter(({ outcome }) => outcome === 'running').map(({ name }) => `"${name}"`)
  native()?.tellStep([stage.name, ...names].join(', '))
}

// It only has to tell for how long the loop was blocked.
const heartbeatMs = 50
let heartbeat: NodeJS.Timeout | undefined

/** For the native part 0 is never. */
function toTimer(ms: number): number {
  return ms === Infinity ? 0 : Math.max(1, Math.ceil(ms))
}
