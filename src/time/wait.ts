import pTimeout from 'p-timeout'
import { clearTimeout, setImmediate, setTimeout } from './timers.ts'

/**
 * Resolves after `ms`. The timer is not unref'd: a wait that does not keep the event loop alive would let Node exit with code 0 before
 * the deadline.
 */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, Math.max(0, ms)))
}

/** Settles as `promise` does or, after `ms`, with what `onTimeUp` returns or throws. Keeps the event loop alive, as `pause` does. */
export function within<Value, Late>(ms: number, promise: Promise<Value>, onTimeUp: () => Late): Promise<Value | Late> {
  // p-timeout refuses 0.
  const milliseconds = Math.max(1, ms)
  return pTimeout(promise, { milliseconds, fallback: onTimeUp, customTimers: { setTimeout, clearTimeout } })
}

/** Resolves in the next turn of the event loop. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve))
}

/**
 * Resolves when the event loop has turned once completely: immediates of the app have run, closed handles have emitted 'close', and
 * unhandled rejections have become uncaught errors. Two immediates, because the first one may run in the current turn, before its closed
 * handles.
 */
export function turnOfLoop(): Promise<void> {
  return new Promise((resolve) => void setImmediate(() => setImmediate(resolve)))
}

/** A promise and the function that resolves it. Node 20 has no `Promise.withResolvers`. */
export function withResolvers<Value>(): Resolvable<Value> {
  let resolve: (value: Value) => void = () => {}
  const promise = new Promise<Value>((resolvePromise) => {
    resolve = resolvePromise
  })
  return { promise, resolve }
}

export interface Resolvable<Value> {
  readonly promise: Promise<Value>
  readonly resolve: (value: Value) => void
}

/** Whether a promise is pending is only shown by Node's inspection. A thenable that is no promise counts as pending. */
export function isPending(value: unknown): boolean {
  const { inspect, types } = process.getBuiltinModule('node:util')
  try {
    if (!types.isPromise(value)) return typeof (value as { then?: unknown } | undefined)?.then === 'function'
    return /^\w*[^{]*\{\s*<pending>/.test(inspect(value, { customInspect: false, depth: 0, maxStringLength: 0 }))
  } catch {
    return false // it was rejected with an error that cannot be inspected
  }
}
