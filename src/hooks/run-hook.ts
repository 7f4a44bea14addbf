import type { Pid1Error } from '../errors.ts'
import type { HookContext } from '../hook.ts'
import { debug, quoted, safeName, warn, warnOf } from '../log.ts'
import { setWatchdogStep } from '../signals/watchdog.ts'
import type { RegisteredHook, Running, RunningHook, RunningStage } from '../state.ts'
import { toEpoch } from '../time/deadline.ts'
import { performance } from '../time/timers.ts'
import { newAbortController } from './abort.ts'
import { abortHook, abortInTime, cutInTime, timeoutIn } from './hook-timeout.ts'
import { runInsideHook } from './inside-hook.ts'

/** Runs one hook within its time. Never rejects: a failure is recorded in the report and printed on stderr. */
export async function runHook(
  registered: RegisteredHook,
  stage: RunningStage,
  running: Running,
  stageEndsAt: number,
): Promise<void> {
  const { name, hook, endsItself = false, isListener = false, timeoutMs = Infinity } = registered
  const startedAt = performance.now()
  const time = { startedAt, endsAt: Math.min(startedAt + timeoutMs, stageEndsAt) }
  const controller = newAbortController()
  const context = contextOf(running, controller.signal, time.endsAt)
  const report: RunningHook = { name, outcome: 'running', durationMs: 0, ...(isListener ? { isListener } : {}) }
  stage.hooks.push(report)
  stage.active.add(report)
  setWatchdogStep(stage)
  const cancelAbort = abortInTime(time, controller)
  const call = () => rememberReturned(stage, report, () => hook(context))
  try {
    if (endsItself) await call()
    else await cutInTime(runInsideHook(call), time)
    report.outcome = 'done'
  } catch (error) {
    const timeout = timeoutIn(error, controller.signal)
    report.outcome = timeout === undefined ? 'failed' : 'cut'
    report.error = timeout ?? error
    abortHook(controller, report.error)
    warnOfHook(report, endsItself)
  }
  cancelAbort()
  report.durationMs = performance.now() - startedAt
  stage.active.delete(report)
  setWatchdogStep(stage)
  debug('hooks', '%s %s after %d ms', name, report.outcome, Math.round(report.durationMs))
  stage.wake()
}

/** Remembers what the hook has returned. After a throw that is undefined, which means that the hook has ended. */
function rememberReturned(stage: RunningStage, report: RunningHook, call: () => unknown): unknown {
  let returned: unknown
  try {
    return (returned = call())
  } finally {
    stage.returned.set(report, returned)
  }
}

function contextOf(running: Running, signal: AbortSignal, endsAt: number): HookContext {
  return {
    reason: running.cause.reason,
    error: running.cause.error,
    signal,
    deadline: toEpoch(endsAt),
    remainingMs: () => Math.max(0, endsAt - performance.now()),
  }
}

function warnOfHook({ name, outcome, error, isListener = false }: RunningHook, endsItself: boolean): void {
  if (isListener && outcome === 'failed') return // its error is an uncaught one, which is printed
  if (isListener)
    return warn(`the ${safeName(name)} ${(error as Pid1Error).message}, which does not affect the exit code`)
  const what = labelOf(name, endsItself)
  if (outcome === 'cut') warn(`${what} ${(error as Pid1Error).message}`)
  else warnOf(`${what} failed`, error)
}

export function labelOf(name: string, endsItself: boolean): string {
  return endsItself ? safeName(name) : `the hook ${quoted(name)}`
}
