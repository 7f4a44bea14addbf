import { hasDescendants } from '../children/descendants.ts'
import type { StageName } from '../stages.ts'
import { type RegisteredHook, type Running, type RunningStage, hasWaitingListeners, state } from '../state.ts'
import { endOfStage } from '../time/deadline.ts'
import { performance } from '../time/timers.ts'
import { turnOfLoop, within, withResolvers } from '../time/wait.ts'
import { runHook } from './run-hook.ts'

/** Whether a hook waits for this stage, or the stage has a process to end or listeners to call. */
export function hasWork(stage: StageName): boolean {
  if (state.hooks[stage].size > 0) return true
  if (stage === 'flush') return state.running !== undefined && hasWaitingListeners(state.running)
  return (stage === 'children' || stage === 'sidecars') && hasDescendants(stage)
}

/** Whether a hook of this stage has not ended. */
export function hasUnfinishedHooks({ name, active }: RunningStage): boolean {
  return state.hooks[name].size > 0 || active.size > 0
}

/** Runs all hooks of a stage at once. */
export async function runTogether(stage: RunningStage, running: Running): Promise<void> {
  await runHooks(stage, running, () => 0)
}

/**
 * Runs the hooks of a stage one after the other, last registered first. A hook that has used its equal share of the time that the stage
 * has left is not cut: the next hook starts beside it. So a hook that hangs does not block the others.
 */
export async function runInTurn(stage: RunningStage, running: Running): Promise<void> {
  await runHooks(stage, running, (leftMs, waiting) => leftMs / waiting)
}

// Thousands of hooks that start or end at once must not block the event loop, so the loop turns now and then.
const mostAtOnce = 20
const longestBlockMs = 2

async function runHooks(
  stage: RunningStage,
  running: Running,
  shareOf: (leftMs: number, waiting: number) => number,
): Promise<void> {
  const waiting = state.hooks[stage.name]
  const queue = [...waiting] // a hook that is unregistered leaves `waiting`, and is then skipped
  let woken = withResolvers<void>()
  stage.wake = () => woken.resolve()
  stage.add = (hook) => {
    // A server that begins to listen now must not accept connections while its drain waits for its turn.
    if (hook.endsItself === true) void startHook(hook, stage, running, endOfStage(running.clock, stage.name, hasWork))
    else queue.push(hook)
    stage.wake()
  }
  let sinceTurn = 0
  let turnedAt = performance.now()
  for (;;) {
    const hook = queue.pop()
    if (hook === undefined) {
      if (stage.active.size === 0) return
      await woken.promise
      woken = withResolvers()
    } else if (waiting.has(hook)) {
      const endsAt = endOfStage(running.clock, stage.name, hasWork)
      const startedAt = performance.now()
      const shareMs = shareOf(endsAt - startedAt, waiting.size)
      const ended = startHook(hook, stage, running, endsAt)
      // The time in which the hook has blocked the event loop is a part of its share.
      if (shareMs > 0) await within(startedAt + shareMs - performance.now(), ended, () => {})
    }
    if (++sinceTurn < mostAtOnce || performance.now() - turnedAt < longestBlockMs) continue
    await turnOfLoop()
    sinceTurn = 0
    turnedAt = performance.now()
  }
}

function startHook(hook: RegisteredHook, stage: RunningStage, running: Running, endsAt: number): Promise<void> {
  state.hooks[stage.name].delete(hook)
  return runHook(hook, stage, running, endsAt)
}
