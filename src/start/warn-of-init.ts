import { warn } from '../log.ts'
import { warningOfInit } from '../platform/init.ts'
import { isClusterWorker, isPid1 } from '../platform/this-process.ts'
import { state } from '../state.ts'

/**
 * Prints one line on stderr if PID 1 keeps stop signals from this process. Not at once, because `configure({ warnings })` may follow; and
 * not in a cluster worker, because its primary prints it.
 */
export function warnOfInit(): void {
  if (isPid1() || state.options.warnings === false) return
  const warning = warningOfInit()
  if (warning === undefined || isClusterWorker()) return
  queueMicrotask(() => {
    if (state.options.warnings !== false) warn(warning)
  })
}
