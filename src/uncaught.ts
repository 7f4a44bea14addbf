import { isWorker } from './environment.ts'
import { printError } from './log.ts'
import { state } from './state.ts'

/** Who is told of an uncaught error, and of an event loop that ran empty. */
export interface UncaughtListener {
  readonly error: (error: unknown) => void
  readonly emptyLoop: () => void
}

/**
 * Only `uncaughtException`: Node turns rejections into it as its flags say. A listener for `unhandledRejection` would hide
 * them from the app's own handler, and would defeat `--unhandled-rejections=warn`.
 */
export function listenForUncaught(listener: UncaughtListener): void {
  if (isWorker()) return
  function handle(error: unknown): void {
    if (belongsToApp(handle)) return
    printError('Uncaught', error)
    listener.error(error)
  }
  process.on('uncaughtException', handle)
  process.on('beforeExit', () => {
    if (state.running === undefined) listener.emptyLoop()
  })
}

/** Sentry's listener, marked `_errorHandler`, leaves the end to the others: it is not the app's. */
function belongsToApp(ours: (error: unknown) => void): boolean {
  return process.listeners('uncaughtException').some((listener) => listener !== ours && !('_errorHandler' in listener))
}
