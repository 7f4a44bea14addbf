import { constants } from 'node:os'
import { debug, quoted } from '../log.ts'
import { native } from '../native.ts'
import { clockOptions, gracePeriod } from '../platform/choose-grace-period.ts'
import { type RunningStage, state } from '../state.ts'
import { type Clock, startClock } from '../time/deadline.ts'
import { clearInterval, performance, setInterval } from '../time/timers.ts'
import { endsProcess } from './signal-owner.ts'

// Often enough to show how long the event loop was blocked: below `BLOCKED_MS` in native/pid1.c.
export const heartbeatMs = 50
let heartbeat: NodeJS.Timeout | undefined
let step = ''

const mostNames = 10

/**
 * While the event loop is blocked no JavaScript keeps a deadline. So the native part sees a signal that ends this process before Node
 * does, and starts the clock. C cannot know whether the app handles a signal itself. `added` listeners are about to be registered.
 */
export function watchSignal(signal: NodeJS.Signals, added = 0): void {
  debugFailure('watchSignal', native()?.watchSignal(constants.signals[signal], endsProcess(signal, added) ? 1 : 0))
}

/** From now on, a process that gets a stop signal is ended when its time is up, even if its event loop is blocked. */
export function prepareWatchdog(): void {
  if (state.running !== undefined || native() === undefined) return
  const clock = startClock(gracePeriod().gracePeriodMs, 0, clockOptions())
  debugFailure('prepareWatchdog', native()?.prepareWatchdog(toTimer(clock.watchdogAt)))
}

/** A shutdown has begun, for any cause, and its clock is known. */
export function startWatchdog(clock: Clock): void {
  if (native() === undefined) return
  const ms = Math.max(1, clock.watchdogAt - performance.now())
  debugFailure('startWatchdog', native()?.startWatchdog(toTimer(ms)))
  // The same text again, because making it would cost more than all the rest of a long wait.
  heartbeat = setInterval(() => native()?.setStep(step), heartbeatMs).unref()
}

/** The process stays alive, or Node exits by itself. */
export function stopWatchdog(): void {
  clearInterval(heartbeat)
  debugFailure('stopWatchdog', native()?.stopWatchdog())
}

/** Sets what the watchdog names as the last thing that ran, and shows that the event loop is not blocked. */
export function setWatchdogStep(stage: RunningStage | undefined): void {
  if (stage === undefined) return
  step = [stage.name, ...namesOf(stage)].join(', ')
  native()?.setStep(step)
}

/** Ten at most, because there may be thousands. The last one is named, because it started last and may be what blocks. */
function namesOf({ active, hooks }: RunningStage): string[] {
  const first = []
  for (const { name } of active) if (first.push(quoted(name)) > mostNames) break
  if (first.length <= mostNames) return first
  return [...first.slice(0, mostNames - 1), quoted(hooks.at(-1)?.name ?? ''), `and ${active.size - mostNames} more`]
}

function debugFailure(operation: string, result = 0): void {
  if (result < 0) debug('watchdog', '%s failed: %d', operation, result)
}

/** The native part takes 0 as "never". */
function toTimer(ms: number): number {
  return ms === Infinity ? 0 : Math.max(1, Math.ceil(ms))
}
