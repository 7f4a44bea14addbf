import { isError, Pid1Error } from '../errors.ts'
import { clearTimeout, performance, setTimeout } from '../time/timers.ts'
import { within } from '../time/wait.ts'
import { newAbortError } from './abort.ts'

/** Rejects when the time of a hook is up. The time counts from before the call of the hook, because the hook may block first. */
export async function cutInTime(
  promise: Promise<unknown>,
  { startedAt, endsAt }: { startedAt: number; endsAt: number },
  controller: AbortController,
): Promise<void> {
  const wholeMs = endsAt - startedAt
  // With a grace period of 0 a hook is still started: its synchronous part runs.
  const leftMs = Math.max(1, endsAt - performance.now())
  const noticeMs = Math.min(wholeMs / 10, longestNoticeMs)
  const abortTimer =
    wholeMs === Infinity
      ? undefined
      : setTimeout(() => abortHook(controller, timeoutAfter('was told to end', wholeMs - noticeMs)), leftMs - noticeMs)
  try {
    await within(leftMs, promise, () => {
      throw timeoutAfter('was cut', wholeMs)
    })
  } finally {
    clearTimeout(abortTimer)
  }
}

// The signal of a hook is aborted this long before the cut, or a tenth of the hook's time if that is less: the hook can still end in time.
const longestNoticeMs = 500

function timeoutAfter(what: string, ms: number): Pid1Error {
  return new Pid1Error('PID1_HOOK_TIMEOUT', `${what} after ${Math.max(1, Math.round(ms))} ms`)
}

/** Aborts the signal of a hook with an AbortError, because `fetch` and Node's own modules reject with one. Its `cause` tells why. */
export function abortHook(controller: AbortController, cause: unknown): void {
  if (controller.signal.aborted) return
  controller.abort(newAbortError(isTimeout(cause) ? 'The time of this hook is up' : 'This hook has failed', cause))
}

/** The timeout in an error: the timeout itself, or an AbortError of the hook's signal with a timeout as its cause. */
export function timeoutIn(error: unknown, signal: AbortSignal): Pid1Error | undefined {
  const { reason } = signal as { reason?: { cause?: unknown } }
  try {
    const isAbort = signal.aborted && (error === reason || (error as Error).cause === reason)
    const timeout = isAbort ? reason?.cause : error
    return isTimeout(timeout) ? timeout : undefined
  } catch {
    return undefined // a getter of the error threw
  }
}

function isTimeout(error: unknown): error is Pid1Error {
  return isError(error) && error instanceof Pid1Error && error.code === 'PID1_HOOK_TIMEOUT'
}
