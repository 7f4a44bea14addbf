import type { HookReport, ShutdownReport } from '../report.ts'
import type { Running, RunningHook } from '../state.ts'
import { toEpoch } from '../time/deadline.ts'
import { performance } from '../time/timers.ts'
import { decideExitCode, exitCodeOfApp } from './exit-code.ts'

/** The report so far. */
export function reportOf(running: Running): ShutdownReport {
  const { cause, clock, stages: run } = running
  const emptyLoop = cause.trigger === 'empty event loop'
  return {
    reason: cause.reason,
    signal: cause.signal ?? null,
    startedAt: toEpoch(clock.startedAt),
    durationMs: performance.now() - clock.startedAt,
    gracePeriodMs: clock.gracePeriodMs,
    deadline: toEpoch(clock.deadline),
    stages: run.map(({ name, startedAt, endedAt, hooks }) => ({
      name,
      durationMs: (endedAt ?? performance.now()) - startedAt,
      hooks: hooks.map(withoutMark),
    })),
    connections: { ...running.connections },
    children: { ...running.children },
    errors: [...running.errors],
    exitCode: emptyLoop ? exitCodeOfApp() || decideExitCode(running) : decideExitCode(running),
  }
}

function withoutMark({ name, outcome, durationMs, ...rest }: RunningHook): HookReport {
  return { name, outcome, durationMs, ...('error' in rest ? { error: rest.error } : {}) }
}
