import { constants } from 'node:os'
import type { HookReport } from '../report.ts'
import { type Running, state } from '../state.ts'

/** The time ran out: what coreutils' `timeout` exits with. `EXIT_TIMEOUT` in native/pid1.c is the same number. */
export const exitCodeOfTimeout = 124

/** A person has pressed Ctrl-C: 128 + SIGINT, as a shell counts. `EXIT_CTRL_C` in native/pid1.c is the same number. */
export const exitCodeOfCtrlC = 130

/** The exit code: the first rule that matches. */
export function decideExitCode(running: Running): number {
  const { cause } = running
  const own = running.exitCode ?? exitCodeOfApp()
  if (outcomes(running).includes('cut')) return exitCodeOfTimeout
  if (own !== 0) return own
  if (running.failed || outcomes(running).includes('failed')) return 1
  if (running.raised !== undefined) return exitCodeOfSignal(running.raised)
  if (cause.signal === 'SIGINT' && cause.fromTerminal === true) return exitCodeOfCtrlC
  if (cause.signal !== undefined && state.options.exitCode === 'signal') return exitCodeOfSignal(cause.signal)
  return 0
}

/** `process.exitCode`, or 0. */
export function exitCodeOfApp(): number {
  return toExitCode(process.exitCode)
}

/** What a shell makes of a process that was ended by a signal. */
export function exitCodeOfSignal(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal]
}

/** The kernel keeps one byte of a code. 256 must not become 0, and what is no number must not count as a success. */
export function toExitCode(code: unknown): number {
  const number = Number(code ?? 0)
  return number === 0 ? 0 : number & 0xff || 1
}

export function outcomes(running: Running): HookReport['outcome'][] {
  return running.stages.flatMap(({ hooks }) =>
    hooks.flatMap(({ outcome, isListener }) => (isListener === true ? [] : outcome)),
  )
}
