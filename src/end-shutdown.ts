import { emitBeforeExit } from './exit/before-exit.ts'
import { decideExitCode, outcomes } from './exit/exit-code.ts'
import { exit, exitNaturally } from './exit/exit.ts'
import { reportOf } from './exit/make-report.ts'
import { flushOutput } from './exit/output.ts'
import { summarizeEnd } from './exit/summary.ts'
import { debug, warnOf } from './log.ts'
import type { ShutdownReport } from './report.ts'
import { recordOwnError } from './running.ts'
import { stopWatchdog } from './signals/watchdog.ts'
import { type Running, state } from './state.ts'
import { stayAlive, staysAlive } from './stay-alive.ts'
import { turnOfLoop } from './time/wait.ts'

/** All stages are over: makes the report, and exits with its code unless the process stays alive. */
export async function endShutdown(running: Running): Promise<void> {
  running.over = true
  const isEmptyLoop = running.cause.trigger === 'empty event loop'
  if (!staysAlive() && !isEmptyLoop && !running.hasRunEmpty) await emitBeforeExit(running, decideExitCode(running))
  const report = reportOf(running)
  await callOnReport(report)
  summarizeEnd(report)
  if (staysAlive()) {
    stayAlive(running, report)
  } else if (!isEmptyLoop || outcomes(running).includes('cut')) {
    await flushOutput(running)
    exit(report.exitCode)
  } else {
    stopWatchdog()
    exitNaturally(running, report.exitCode)
  }
}

/** The shutdown itself has failed, by a fault of this package or because the app has replaced what the shutdown needs. */
export function endFailedShutdown(running: Running, error: unknown): void {
  recordOwnError(running, 'the shutdown', error)
  running.over = true
  if (staysAlive()) stayAlive(running, reportOf(running))
  else exit(1)
}

/** What `onReport` returns is not awaited. A promise that rejects at once is reported. */
async function callOnReport(report: ShutdownReport): Promise<void> {
  debug('shutdown', 'report: %O', report)
  const { onReport } = state.options
  if (onReport === undefined) return
  const returned = (async () => onReport(report))().catch((error: unknown) => warnOf('onReport failed', error))
  await Promise.race([returned, turnOfLoop()])
}
