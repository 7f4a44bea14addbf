import { exitCodeOfCtrlC } from '../exit/exit-code.ts'
import { exit } from '../exit/exit.ts'
import { reportOf } from '../exit/make-report.ts'
import { unfinishedHooks } from '../exit/unfinished-hooks.ts'
import { warn, warnOf } from '../log.ts'
import { hasTerminal } from '../platform/interactive.ts'
import { type Running, state } from '../state.ts'
import type { Arrival } from './arrival.ts'

/**
 * npm, tsx, nodemon and the like pass on one Ctrl-C as up to three signals. They are counted from the first one, because a key that
 * is held down is more than one Ctrl-C. `BURST_MS` in native/pid1.c is the same number.
 */
export const burstMs = 100

/**
 * Whether a person has pressed Ctrl-C during the shutdown: SIGINT came from the terminal, and later than a burst after the first stop
 * signal. The native part has decided it when the signal arrived (`on_further_signal` in native/pid1.c). It also ends a process whose
 * event loop is blocked.
 */
export function isSecondCtrlC({ arrivedAt, fromTerminal, repeatedBy }: Arrival, { firstSignalAt }: Running): boolean {
  if (repeatedBy === undefined) return fromTerminal && arrivedAt - (firstSignalAt ?? arrivedAt) > burstMs
  // A wrapper on a terminal, such as npm, passes on what its terminal sends. An orchestrator has no terminal.
  return repeatedBy === 'the terminal' || (repeatedBy === 'a process' && hasTerminal())
}

/** Ends the process at once, because a person has waited enough. */
export function forceExit(running: Running): void {
  const unfinished = unfinishedHooks(running)
  warn(`Ctrl-C forced the end of the shutdown${unfinished === '' ? '' : `; not finished: ${unfinished}`}`)
  try {
    state.options.onForcedEnd?.({ ...reportOf(running), exitCode: exitCodeOfCtrlC })
  } catch (error) {
    warnOf('onForcedEnd failed', error)
  }
  exit(exitCodeOfCtrlC)
}
