import { listOf, quoted } from '../log.ts'
import { type Running, type RunningHook, type RunningStage, waitingHooks } from '../state.ts'
import { isPending } from '../time/wait.ts'

/** The names of the hooks that still run or have not been started, for a line on stderr. */
export function unfinishedHooks({ stages }: Running): string {
  const running = stages.flatMap((stage) => [...stage.active].filter((hook) => !hasSettled(hook, stage)))
  return listOf([...running, ...waitingHooks()], ({ name }) => quoted(name))
}

/** What the hook returned may have settled although the hook still counts as running: no reaction of the promise has run yet. */
function hasSettled(hook: RunningHook, { returned }: RunningStage): boolean {
  return returned.has(hook) && !isPending(returned.get(hook))
}
