import { listOf, quoted } from '../log.ts'
import { type Running, type RunningHook, type RunningStage, waitingHooks } from '../state.ts'

/** The names of the hooks that still run or have not been started, for a line on stderr. */
export function unfinishedHooks({ stages }: Running): string {
  const running = stages.flatMap((stage) => [...stage.active].filter((hook) => !hasSettled(hook, stage)))
  return listOf([...running, ...waitingHooks()], ({ name }) => quoted(name))
}

/** What the hook returned may have settled although the hook still counts as running: no reaction of the promise has run yet. */
function hasSettled(hook: RunningHook, { returned }: RunningStage): boolean {
  return returned.has(hook) && !isPending(returned.get(hook))
}

/** Whether a promise is pending is only shown by Node's inspection. A thenable that is no promise counts as pending. */
function isPending(value: unknown): boolean {
  const { inspect, types } = process.getBuiltinModule('node:util')
  try {
    if (!types.isPromise(value)) return typeof (value as { then?: unknown } | undefined)?.then === 'function'
    return /^\w*[^{]*\{\s*<pending>/.test(inspect(value, { customInspect: false, depth: 0, maxStringLength: 0 }))
  } catch {
    return false // it was rejected with an error that cannot be inspected
  }
}
