import { isError, Pid1Error } from '../errors.ts'
import { clearTimeout, performance, setTimeout } from '../time/timers.ts'
import { within } from '../time/wait.ts'
import { newAbortError } from './abort.ts'

interface HookTime {
  readonly startedAt: number
  readonly endsAt: number
}

/** Aborts the signal of a hook a moment before its time is up. Returns a function that stops waiting for that. */
export function abortInTime({ startedAt, endsAt }: HookTime, controller: AbortController): () => void {
  const wholeMs = endsAt - startedAt
  if (wholeMs === Infinity) return () => {}
  const noticeMs = Math.min(wholeMs / 10, longestNoticeMs)
  const abort = () => abortHook(controller, timeoutAfter('was told to end', wholeMs - noticeMs))
  const timer = setTimeout(abort, msUntil(endsAt) - noticeMs)
  return () => clearTimeout(timer)
}

/** Rejects when the time of a hook is up. The time counts from before the call of the hook, because the hook may block first. */
export async function cutInTime(promise: Promise<unknown>, { startedAt, endsAt }: HookTime): Promise<void> {
  await within(msUntil(endsAt), promise, () => {
    throw timeoutAfter('was cut', endsAt - startedAt)
  })
}

/** With a grace period of 0 a hook is still started: its synchronous part runs. */
function msUntil(time: number): number {
  return Math.max(1, time - performance.now())
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
