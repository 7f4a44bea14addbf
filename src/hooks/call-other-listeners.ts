import { flushOutput } from '../exit/output.ts'
import { listOf, safeName, warn } from '../log.ts'
import { isInPackage } from '../platform/call-site.ts'
import { drainedMessage, isClusterWorker } from '../platform/this-process.ts'
import { type OtherListener, type Running, type RunningHook, type RunningStage, state } from '../state.ts'
import { endOfStage } from '../time/deadline.ts'
import { nextTick, performance, setTimeout } from '../time/timers.ts'
import { runInsideHook } from './inside-hook.ts'
import { runHook } from './run-hook.ts'
import { hasWork } from './run-in-turn.ts'
import { untilAppEnds } from './until-app-ends.ts'

/**
 * Calls the listeners that have waited, all at once, in the order in which they were registered. It is the last thing before the
 * sidecars end, because such a listener often exits.
 */
export async function callOtherListeners(stage: RunningStage, running: Running): Promise<void> {
  if (running.otherListeners === 'called' && running.calledEarly.length === 0) return
  const listeners = running.otherListeners === 'called' ? running.calledEarly : takeListeners(running)
  const isManager = state.unaware === 'package manager'
  if (listeners.length === 0 && running.heldEvents.size === 0 && !isManager) return
  await flushOutput(running)
  const endsAt = endOfStage(running.clock, stage.name, hasWork)
  running.isCallingListeners = true
  if (isManager) await letManagerEnd(listeners, stage, running)
  else if (state.unaware === 'app' && listeners.some(belongsToApp)) await letAppEnd(listeners, stage, running, endsAt)
  else await callAll(listeners, stage, running, endsAt)
  running.isCallingListeners = false
}

function takeListeners(running: Running): OtherListener[] {
  const { otherListeners } = running
  running.otherListeners = 'called'
  return otherListeners === 'called' ? [] : [...otherListeners.values()].filter(({ isRegistered }) => isRegistered())
}

/**
 * In an app that does not know this package. Some requests end only by what its listeners do: a long poll gets its answer, a stream its
 * last line. So shortly before they would be cut, the listeners are called after all.
 */
export function callListenersBeforeCut(running: Running): void {
  const ms = (endOfStage(running.clock, 'intake', hasWork) - performance.now()) * earlyPart
  if (state.unaware !== 'app' || !Number.isFinite(ms)) return
  const timer = setTimeout(() => {
    if (running.stages.at(-1)?.name !== 'intake' || running.otherListeners === 'called') return
    running.calledEarly = takeListeners(running)
    for (const listener of running.calledEarly) startListener(listener, running)
  }, ms)
  timer.unref()
}

// Of the time that the servers have to drain.
const earlyPart = 0.8

function startListener(listener: OtherListener, running: Running): void {
  void runInsideHook(() => callListener(listener, running)).catch(() => {})
}

/** Also where the whole app is a command of a package, such as `next start`. */
function belongsToApp({ isOfPackage }: OtherListener): boolean {
  return !isOfPackage || isInPackage(process.argv[1] ?? '')
}

async function callAll(
  listeners: readonly OtherListener[],
  stage: RunningStage,
  running: Running,
  endsAt: number,
): Promise<void> {
  let isUnseen = false
  const call = async (listener: OtherListener) => {
    const returned = await callListener(listener, running)
    isUnseen ||= returned === 'no promise'
  }
  for (const release of running.heldEvents) release()
  await Promise.all(
    listeners.map((listener) =>
      runHook(
        { name: nameOf(listener), hook: () => call(listener), stage: stage.name, isListener: true },
        stage,
        running,
        endsAt,
      ),
    ),
  )
  if (state.unaware === undefined || !isUnseen) return
  // What a listener has started is not seen, and a package seldom ends the process.
  const { startedAt, deadline } = running.clock
  await untilAppEnds(running, Math.min(endsAt, performance.now() + (deadline - startedAt) / 5))
}

/**
 * The end of an app that does not know this package stays its own: it exits, or its event loop runs empty, or it raises the signal again,
 * or an error ends it. What its listeners return does not say when they are done: many only start something.
 */
async function letAppEnd(
  listeners: readonly OtherListener[],
  stage: RunningStage,
  running: Running,
  endsAt: number,
): Promise<void> {
  const startedAt = performance.now()
  const reports = listeners.map((listener): RunningHook => {
    return { name: nameOf(listener), outcome: 'running', durationMs: 0 }
  })
  stage.hooks.push(...reports)
  for (const report of reports) stage.active.add(report)
  const hasEnded = untilAppEnds(running, endsAt)
  if (running.calledEarly.length === 0) for (const listener of listeners) startListener(listener, running)
  running.calledEarly = []
  for (const release of running.heldEvents) release()
  if (isClusterWorker()) process.send?.({ cmd: drainedMessage })
  const isInTime = await hasEnded
  for (const report of reports) {
    report.durationMs = performance.now() - startedAt
    report.outcome = isInTime ? 'done' : 'cut'
    stage.active.delete(report)
  }
  if (isInTime) return
  const names = listOf(listeners.filter(belongsToApp), (listener) => `the ${safeName(nameOf(listener))}`)
  warn(`${names} did not end the process within ${Math.round(performance.now() - startedAt)} ms, so it is ended now`)
}

/** A package manager exits when its child has ended, with the child's code. */
async function letManagerEnd(
  listeners: readonly OtherListener[],
  stage: RunningStage,
  running: Running,
): Promise<void> {
  const hadChildren = running.children.terminated + running.children.killed > 0
  const outcome = running.children.killed > 0 ? 'cut' : 'done'
  stage.hooks.push({ name: 'the child of the package manager', outcome, durationMs: 0 })
  const hasEnded = untilAppEnds(running, running.clock.deadline)
  if (!hadChildren) {
    if (listeners.length === 0) running.endOfApp?.()
    for (const listener of listeners) startListener(listener, running)
  }
  if (await hasEnded) return
  if (outcome === 'done') warn('the package manager did not end by itself after its child, so it is ended now')
  else warn('what the package manager has started did not end in time, and was killed')
}

function nameOf({ signal, place }: OtherListener): string {
  return `${signal} listener of ${place}`
}

/** An error remains what it would have been without this package: uncaught, or an unhandled rejection. */
async function callListener({ call }: OtherListener, { listenerErrors }: Running): Promise<'a promise' | 'no promise'> {
  let returned: unknown
  try {
    returned = call()
  } catch (error) {
    listenerErrors.add(error)
    nextTick(() => {
      throw error
    })
    throw error
  }
  try {
    await returned
    return isThenable(returned) ? 'a promise' : 'no promise'
  } catch (error) {
    listenerErrors.add(error)
    void Promise.reject(error)
    throw error
  }
}

function isThenable(value: unknown): boolean {
  return typeof (value as { readonly then?: unknown } | null | undefined)?.then === 'function'
}
