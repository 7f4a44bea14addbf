import { setMaxListeners } from 'node:events'
import { type Cause, state } from '../state.ts'

/** The controller of `shutdownSignal()`. */
export function abortController(): AbortController {
  state.abort ??= newAbortController()
  return state.abort
}

/** Aborts the signal of `shutdownSignal()`. */
export function abortShutdownSignal({ reason, ...cause }: Cause): void {
  const error = newAbortError(`The service shuts down: ${reason}`, 'error' in cause ? cause.error : reason)
  abortController().abort(error)
}

/** An AbortError like those of Node. Its `cause` tells why. */
export function newAbortError(message: string, cause: unknown): DOMException {
  // Not the global DOMException, because jsdom and happy-dom replace it: the class of the error that Node's own controller aborts with.
  const controller = newAbortController()
  controller.abort()
  const { constructor } = controller.signal.reason as { constructor: typeof DOMException }
  return new constructor(message, { name: 'AbortError', cause })
}

/**
 * Node's own controller, because Node's functions do not accept those of jsdom and happy-dom. (Bun has only the global one.) Many
 * streams may listen to its signal, and on Node 20 the eleventh listener would print a warning of a leak.
 */
export function newAbortController(): AbortController {
  const { transferableAbortController } = process.getBuiltinModule('node:util') as Partial<typeof import('node:util')>
  const controller = transferableAbortController?.() ?? new AbortController()
  setMaxListeners(0, controller.signal)
  return controller
}
