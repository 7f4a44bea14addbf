import { constants } from 'node:os'
import { native } from '../native.ts'
import { hasTerminal } from '../platform/interactive.ts'
import { performance } from '../time/timers.ts'

/** A signal that JavaScript handles now. */
export interface Arrival {
  readonly signal: NodeJS.Signals
  /** When the first stop signal arrived, in milliseconds of `performance.now()`. */
  readonly arrivedAt: number
  /** A key was pressed in the terminal: no other process has sent the first stop signal. */
  readonly fromTerminal: boolean
  /** This process has sent it to itself: the end of a clean-up that raises its signal again. */
  readonly isFromSelf: boolean
  /** Who has sent SIGINT again since the first stop signal. Undefined where the native part has not seen this signal. */
  readonly repeatedBy: 'nobody' | 'a process' | 'the terminal' | undefined
}

/** Asks the native part about the signal. To be called once for each signal that Node emits, because the native part counts them. */
export function takeArrival(signal: NodeJS.Signals): Arrival {
  const part = native()
  const repeatedBy = senders[part?.takeSignal(constants.signals[signal]) ?? -1]
  if (part === undefined || repeatedBy === undefined) {
    // There is no native part, or the app has emitted the signal, as readline's idiom does. Only the terminal is known then.
    const arrivedAt = performance.now()
    return {
      signal,
      arrivedAt,
      fromTerminal: signal === 'SIGINT' && hasTerminal(),
      isFromSelf: false,
      repeatedBy: undefined,
    }
  }
  const isFromSelf = part.isFromSelf(constants.signals[signal]) === 1
  return { signal, arrivedAt: firstArrivalAt(), fromTerminal: part.isFromTerminal() === 1, isFromSelf, repeatedBy }
}

/** When the first stop signal arrived; now, where none has. JavaScript may not have handled it yet, because the loop was blocked. */
export function firstArrivalAt(): number {
  return performance.now() - Math.max(0, native()?.ageOfArrival() ?? 0)
}

// By the numbers that the native part answers.
const senders = ['nobody', 'a process', 'the terminal'] as const
