import { keepReaping } from './children/reaper.ts'
import { isWorker } from './platform/this-process.ts'
import type { ShutdownReport } from './report.ts'
import { rewatchSignals } from './signals/our-listeners.ts'
import { stopWatchdog } from './signals/watchdog.ts'
import { reset, type Running, state } from './state.ts'

/** Whether the process goes on after a shutdown: with `configure({ exit: false })`, and in a worker thread. */
export function staysAlive(): boolean {
  return state.options.exit === false || isWorker()
}

/** Resets everything, so that the next shutdown starts fresh, and gives the report to those who wait for it. */
export function stayAlive(running: Running, report: ShutdownReport): void {
  stopWatchdog()
  if (running.uncaught) process.exitCode ??= 1
  reset()
  rewatchSignals()
  keepReaping()
  running.finished.resolve(report)
}
