import { type StageName, stages, stagesAfter } from '../stages.ts'
import { Date, performance } from './timers.ts'

/** The clock of a shutdown. Times are milliseconds of `performance.now()`, which is unaffected by changes of the system clock. */
export interface Clock {
  readonly gracePeriodMs: number
  /** When the signal arrived. */
  readonly startedAt: number
  /** When the shutdown must be over: a margin before the platform's SIGKILL. */
  readonly deadline: number
  /** When the watchdog ends the process: between the deadline and the platform's SIGKILL. */
  readonly watchdogAt: number
}

export interface ClockOptions {
  /** A debugger is attached, so there is no deadline. */
  readonly withoutDeadline: boolean
  /** A parent forwarded the signal, waits for this process, and has to exit in time itself. */
  readonly parentWaits: boolean
  /** This process only waits for children that know the same grace period, so its own time ends after theirs. */
  readonly childrenFirst: boolean
}

/** The clock of a shutdown whose signal arrived at `startedAt`. */
export function startClock(
  gracePeriodMs: number,
  startedAt: number,
  { withoutDeadline, parentWaits, childrenFirst }: ClockOptions,
): Clock {
  const ownMs = childrenFirst ? marginMs(gracePeriodMs) / 4 : marginMs(gracePeriodMs)
  const keptMs = parentWaits ? Math.min(3 * ownMs, 0.75 * gracePeriodMs) : ownMs
  const deadline = withoutDeadline ? Infinity : startedAt + gracePeriodMs - keptMs
  return {
    gracePeriodMs,
    startedAt,
    deadline,
    watchdogAt: deadline + Math.max(keptMs / 2, leastWatchdogMs(gracePeriodMs)),
  }
}

/**
 * With a very short grace period, a stall of a busy machine must not count as a blocked loop. Below 200 ms the watchdog could not act
 * before SIGKILL anyway.
 */
function leastWatchdogMs(gracePeriodMs: number): number {
  return gracePeriodMs < 200 ? 250 : 100
}

/** The part of the grace period that is kept for the exit itself, and for a busy machine. */
export function marginMs(gracePeriodMs: number): number {
  return Math.min(Math.max(gracePeriodMs / 10, 250), 2000, gracePeriodMs / 2)
}

/** When a stage must be over. Later stages that have work to do keep their reserve. */
export function endOfStage(clock: Clock, stage: StageName, hasWork: (stage: StageName) => boolean): number {
  const wholeMs = clock.deadline - clock.startedAt
  if (wholeMs === Infinity) return Infinity
  const later = stagesAfter(stage).filter(({ name }) => hasWork(name))
  const reserves = later.map(({ reserve, reserveAtMostMs }) => Math.min(wholeMs * reserve, reserveAtMostMs))
  const { overBy = 1 } = stages.find(({ name }) => name === stage) ?? {}
  return Math.min(clock.deadline - reserves.reduce((sum, ms) => sum + ms, 0), clock.startedAt + wholeMs * overBy)
}

/** A time of the clock as epoch milliseconds, which people and other processes understand. */
export function toEpoch(time: number): number {
  return Math.round(Date.now() + (time - performance.now()))
}
