import { flushOutput } from '../exit/output.ts'
import type { OtherListener, Running, RunningStage } from '../state.ts'
import { endOfStage } from '../time/deadline.ts'
import { nextTick } from '../time/timers.ts'
import { runHook } from './run-hook.ts'
import { hasWork } from './run-in-turn.ts'

/**
 * Calls the listeners that have waited, all at once, in the order in which they were registered. It is the last thing before the
 * sidecars end, because such a listener often exits.
 */
export async function callOtherListeners(stage: RunningStage, running: Running): Promise<void> {
  const { otherListeners } = running
  if (otherListeners === 'called') return
  running.otherListeners = 'called'
  const listeners = [...otherListeners.values()].filter(({ isRegistered }) => isRegistered())
  if (listeners.length === 0) return
  await flushOutput(running)
  const endsAt = endOfStage(running.clock, stage.name, hasWork)
  running.isCallingListeners = true
  await Promise.all(
    listeners.map((listener) =>
      runHook(
        {
          name: `${listener.signal} listener of ${listener.place}`,
          hook: () => callListener(listener, running),
          stage: stage.name,
          isListener: true,
        },
        stage,
        running,
        endsAt,
      ),
    ),
  )
  running.isCallingListeners = false
}

/** An error remains what it would have been without this package: uncaught, or an unhandled rejection. */
async function callListener({ call }: OtherListener, { listenerErrors }: Running): Promise<void> {
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
  } catch (error) {
    listenerErrors.add(error)
    void Promise.reject(error)
    throw error
  }
}
