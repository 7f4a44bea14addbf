import { stageNames, type StageName } from './options.ts'

/** The one clock of a shutdown. Times are `performance.now()` milliseconds, which no change of the date moves. */
export interface Clock {
  readonly gracePeriodMs: number
  /** When the signal arrived. */
  readonly startedAt: number
  /** When everything must be over: a margin before the platform's SIGKILL. */
  readonly deadline: number
  /** When the watchdog ends a process that is still there: between the deadline and the platform's SIGKILL. */
  readonly watchdogAt: number
}

export interface ClockOptions {
  /** A debugger is attached, so time does not count. */
  readonly endless: boolean
  /** Another process had to pass the signal on, waits for this one, and must leave in time itself. */
  readonly awaited: boolean
}

/** Starts the clock at the signal's arrival. */
export function startClock(gracePeriodMs: number, startedAt: number, { endless, awaited }: ClockOptions): Clock {
  const ownMs = marginMs(gracePeriodMs)
  const keptMs = awaited ? Math.min(3 * ownMs, 0.75 * gracePeriodMs) : ownMs
  const deadline = endless ? Infinity : startedAt + gracePeriodMs - keptMs
  return { gracePeriodMs, startedAt, deadline, watchdogAt: deadline + Math.max(keptMs / 2, leastWatchdogMs) }
}

// Where there is next to no grace period, a short pause of a busy machine is no blocked loop.
const leastWatchdogMs = 100

/** What is kept back of the grace period, for the exit itself and for a busy machine. */
export function marginMs(gracePeriodMs: number): number {
  return Math.min(Math.max(gracePeriodMs / 10, 250), 2000, gracePeriodMs / 2)
}

/** When a stage must be over: what is left to the later stages that have something to do is theirs. */
export function endOfStage(clock: Clock, stage: StageName, hasWork: (stage: StageName) => boolean): number {
  const wholeMs = clock.deadline - clock.startedAt
  if (wholeMs === Infinity) return Infinity
  const later = stageNames.slice(stageNames.indexOf(stage) + 1).filter(hasWork)
  return clock.deadline - later.reduce((sum, name) => sum + reserveMs(name, wholeMs), 0)
}

function reserveMs(stage: StageName, wholeMs: number): number {
  return stage === 'cleanup' ? wholeMs / 5 : Math.min(wholeMs / 10, 1000)
}

/** A time of the clock as epoch milliseconds, for people and for other processes. */
export function toEpoch(time: number): number {
  return Math.round(Date.now() + (time - performance.now()))
}

/**
 * Resolves after `ms`, or as soon as one of `others` settles.
 *
 * Not `AbortSignal.timeout()` nor an unref'd timer: a wait that holds nothing would let Node leave with code 0 before
 * the deadline.
 */
export async function waitAtMost(ms: number, others: readonly Promise<unknown>[]): Promise<void> {
  if (ms === Infinity) return void (await Promise.race(others))
  let timer: NodeJS.Timeout | undefined
  const timeUp = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, ms))
  })
  try {
    await Promise.race([timeUp, ...others])
  } finally {
    clearTimeout(timer)
  }
}

/** A promise and the function that resolves it: `Promise.withResolvers` came with Node 22. */
export function withResolvers<Value>(): Resolvable<Value> {
  let resolve: (value: Value) => void = () => {}
  const promise = new Promise<Value>((resolvePromise) => {
    resolve = resolvePromise
  })
  return { promise, resolve }
}

export interface Resolvable<Value> {
  readonly promise: Promise<Value>
  readonly resolve: (value: Value) => void
}
