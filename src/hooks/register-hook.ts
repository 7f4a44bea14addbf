import { warn } from '../log.ts'
import { stagesAfter } from '../stages.ts'
import { type RegisteredHook, type Running, state } from '../state.ts'
import { performance } from '../time/timers.ts'
import { type Unregister, unregisterBy } from '../unregister.ts'
import { labelOf } from './run-hook.ts'

/** Registers a hook. During a shutdown it still runs: in its own stage, or in the current stage if its own is over. */
export function registerHook(registered: RegisteredHook): Unregister {
  const { running } = state
  if (running !== undefined && isTooLate(running)) {
    warn(`${labelOf(registered.name, registered.endsItself === true)} was registered too late, and does not run`)
    running.failed = true
    return unregisterBy(() => {})
  }
  const current = running?.stages.at(-1)
  const isOwnStageOver =
    current !== undefined && ![current, ...stagesAfter(current.name)].some(({ name }) => name === registered.stage)
  const hook = isOwnStageOver ? { ...registered, stage: current.name } : registered
  const hooks = state.hooks[hook.stage]
  hooks.add(hook)
  if (current?.name === hook.stage) current.add(hook)
  return unregisterBy(() => hooks.delete(hook))
}

/** Whether no hook can run any more. After the deadline none can, because hooks that register further hooks would go on for ever. */
function isTooLate({ over, clock }: Running): boolean {
  return over || performance.now() >= clock.deadline + lateMs
}

// With a grace period of 0 the hooks that another hook registers at once are still started.
const lateMs = 20
