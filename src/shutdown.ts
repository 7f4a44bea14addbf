import { endDescendants } from './children/end-descendants.ts'
import { endFailedShutdown, endShutdown } from './end-shutdown.ts'
import { swallowOutputErrors } from './exit/output.ts'
import { summarizeStart } from './exit/summary.ts'
import { abortShutdownSignal } from './hooks/abort.ts'
import { adoptBackgroundWork, awaitBackgroundWork } from './hooks/background-work.ts'
import { callListenersBeforeCut, callOtherListeners } from './hooks/call-other-listeners.ts'
import { hasUnfinishedHooks, hasWork, runInTurn, runTogether } from './hooks/run-in-turn.ts'
import { debug } from './log.ts'
import { newRunning, newStage, recordOwnError } from './running.ts'
import { drainWorkersOf } from './servers/cluster.ts'
import { registerDrainDelay } from './servers/drain-delay.ts'
import { setWatchdogStep, startWatchdog } from './signals/watchdog.ts'
import { type Stage, stages } from './stages.ts'
import { type Cause, type Running, type RunningStage, hasWaitingListeners, state } from './state.ts'
import { endOfStage } from './time/deadline.ts'
import { performance } from './time/timers.ts'
import { turnOfLoop } from './time/wait.ts'

/** Begins a shutdown, synchronously: `isShuttingDown()` is true and the signal is aborted when this returns. */
export function begin(cause: Cause): Running {
  const running = newRunning(cause)
  state.running = running
  debug('shutdown', 'begins: %s', cause.reason)
  try {
    summarizeStart(running)
    abortShutdownSignal(cause)
    swallowOutputErrors()
    startWatchdog(running.clock)
    drainWorkersOf(running)
    registerDrainDelay(running)
    adoptBackgroundWork(running)
    callListenersBeforeCut(running)
  } catch (error) {
    recordOwnError(running, 'the start of the shutdown', error)
  }
  conduct(running).catch((error: unknown) => endFailedShutdown(running, error))
  return running
}

async function conduct(running: Running): Promise<void> {
  for (const { name, runs, isSkippedIfEmpty } of stages) {
    const stage = newStage(name)
    running.stages.push(stage)
    if (isSkippedIfEmpty === true && !hasUnfinishedHooks(stage)) {
      stage.endedAt = stage.startedAt
      continue
    }
    try {
      setWatchdogStep(stage)
      debug('shutdown', '%s begins', name)
      // Nothing is awaited between the last look for hooks and the next stage: a hook that is registered then would not run.
      do {
        await run[runs](stage, running)
        if (name !== 'announce') await awaitBackgroundWork(stage, running)
        if (name === 'flush') await callOtherListeners(stage, running)
        await turnOfLoop()
      } while (hasUnfinishedHooks(stage))
    } catch (error) {
      recordOwnError(running, `the stage ${name}`, error)
    }
    stage.endedAt = performance.now()
  }
  await endShutdown(running)
}

const run: Record<Stage['runs'], (stage: RunningStage, running: Running) => Promise<void>> = {
  together: runTogether,
  'in turn': runInTurn,
  'ends processes': endProcesses,
}

/**
 * Until when processes have time to end, and whether those that are left are killed then. A package manager has nothing else to do, and the
 * deadline of its child comes first. An app that does not know this package may end a child in its own way, so a later
 * stage ends what SIGTERM does not end soon.
 */
function endOfProcesses({ name }: RunningStage, running: Running): { readonly at: number; readonly kills: boolean } {
  const { startedAt, deadline } = running.clock
  if (state.unaware === 'package manager') return { at: deadline, kills: true }
  const at = endOfStage(running.clock, name, hasWork)
  if (state.unaware !== 'app' || name !== 'children' || !hasWaitingListeners(running)) return { at, kills: true }
  return { at: Math.min(at, performance.now() + Math.min(1000, (deadline - startedAt) / 10)), kills: false }
}

async function endProcesses(stage: RunningStage, running: Running): Promise<void> {
  await endDescendants(stage.name, running, endOfProcesses(stage, running))
  await runTogether(stage, running) // hooks that were registered too late for their own stage
}
