import { isError } from '../errors.ts'
import { reportOf } from '../exit/make-report.ts'
import { abortController } from '../hooks/abort.ts'
import { isInsideHook } from '../hooks/inside-hook.ts'
import { printError } from '../log.ts'
import { checkReason, isDisabled } from '../options.ts'
import type { ShutdownReport } from '../report.ts'
import { causeOf, newRunning } from '../running.ts'
import { begin } from '../shutdown.ts'
import { install } from '../start/install.ts'
import { joinShutdown } from '../start/triggers.ts'
import { type Cause, type Running, state } from '../state.ts'

/** Why `shutdown` is called: a string, an error (exit code 1), or `{ reason, exitCode }`. */
export type ShutdownReason =
  | string
  | Error
  | { readonly reason?: string | undefined; readonly exitCode?: number | undefined }

export function shutdown(reason?: ShutdownReason): Promise<ShutdownReport> {
  const cause = causeFrom(reason)
  if (isDisabled()) return Promise.resolve(reportOf(newRunning(cause)))
  install()
  const running = state.running === undefined ? beginByHand(cause) : joinShutdown(state.running, cause)
  return isInsideHook() ? Promise.resolve(reportOf(running)) : running.finished.promise
}

export function shutdownSignal(): AbortSignal {
  if (!isDisabled()) install()
  return abortController().signal
}

export function isShuttingDown(): boolean {
  return state.running !== undefined
}

function causeFrom(reason: ShutdownReason = 'shutdown()'): Cause {
  if (typeof reason === 'string') return { ...causeOf('call'), reason }
  if (isError(reason)) return { ...causeOf('call'), reason: messageOf(reason), error: reason }
  const { reason: text = 'shutdown()', exitCode = 0 } = checkReason(reason)
  return { ...causeOf('call'), reason: text, ...(exitCode === 0 ? {} : { exitCode }) }
}

function messageOf(error: { readonly message: unknown }): string {
  try {
    return String(error.message)
  } catch {
    return 'an error without a message'
  }
}

function beginByHand(cause: Cause): Running {
  if ('error' in cause) printError('Shutting down because of', cause.error)
  return begin(cause)
}
