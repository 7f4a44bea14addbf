import { warnOf } from './log.ts'
import { clockOptions, gracePeriod } from './platform/choose-grace-period.ts'
import { isInteractive } from './platform/interactive.ts'
import { firstArrivalAt } from './signals/arrival.ts'
import type { StageName } from './stages.ts'
import type { Cause, Running, RunningStage } from './state.ts'
import { startClock } from './time/deadline.ts'
import { performance } from './time/timers.ts'
import { withResolvers } from './time/wait.ts'

/** The cause of a shutdown that no signal starts. If a signal has arrived that JavaScript has not handled yet, its clock began then. */
export function causeOf(trigger: Cause['trigger']): Cause {
  return { trigger, reason: trigger, arrivedAt: firstArrivalAt() }
}

/** A shutdown that begins. */
export function newRunning(cause: Cause): Running {
  return {
    cause,
    clock: startClock(gracePeriod().gracePeriodMs, cause.arrivedAt, clockOptions()),
    interactive: isInteractive(cause.fromTerminal === true),
    stages: [],
    connections: { drained: 0, ended: 0, cut: 0 },
    children: { terminated: 0, killed: 0 },
    errors: 'error' in cause ? [cause.error] : [],
    finished: withResolvers(),
    exitCode: cause.exitCode,
    failed: 'error' in cause,
    uncaught: cause.trigger === 'uncaught error',
    firstSignalAt: cause.signal === undefined ? undefined : cause.arrivedAt,
    otherListeners: new Map(),
    isCallingListeners: false,
    endOfApp: undefined,
    calledEarly: [],
    drainedWorkers: new Set(),
    heldEvents: new Set(),
    raised: undefined,
    listenerErrors: new Set(),
    hasRunEmpty: false,
    over: false,
  }
}

/** A stage that begins. */
export function newStage(name: StageName): RunningStage {
  return {
    name,
    startedAt: performance.now(),
    endedAt: undefined,
    hooks: [],
    active: new Set(),
    returned: new WeakMap(),
    add: () => {},
    wake: () => {},
  }
}

/**
 * Records an uncaught error, or one that was given to `shutdown`. Returns whether it affects the exit code. From the `children` stage on
 * it does not, because `execSync` throws when its child gets our SIGTERM.
 */
export function recordError(running: Running, error: unknown): boolean {
  const isAppEnding = running.endOfApp !== undefined
  const counts =
    isAppEnding || running.listenerErrors.has(error) || running.stages.every(({ name }) => name !== 'children')
  running.failed ||= counts
  if (!running.errors.includes(error)) running.errors.push(error)
  return counts
}

/** Records an error of the shutdown itself, which continues nevertheless. */
export function recordOwnError(running: Running, what: string, error: unknown): void {
  warnOf(`${what} failed`, error)
  running.errors.push(error)
  running.failed = true
}
