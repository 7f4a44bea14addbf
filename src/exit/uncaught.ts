import { isWorker } from '../platform/this-process.ts'
import { finishExit, hasExitBegun } from './exit.ts'
import { printUncaught } from './print-uncaught.ts'

/**
 * Listens to `uncaughtException` only: Node turns rejections into it, as its flags say. A listener for `unhandledRejection` would hide
 * them from the app's own handler, and would defeat `--unhandled-rejections=warn`.
 */
export function listenForUncaught(listener: (error: unknown) => void): void {
  if (isWorker()) return
  function handle(error: unknown): void {
    if (belongsToApp(handle)) return
    if (hasExitBegun()) return finishExit(error)
    printUncaught(error)
    listener(error)
  }
  process.on('uncaughtException', handle)
}

function belongsToApp(ours: (error: unknown) => void): boolean {
  return process.listeners('uncaughtException').some((listener) => listener !== ours && !neverExits(listener))
}

/**
 * Sentry's listener only reports, and `node:domain`'s only clears its stack: neither exits by itself, so it does not count as the app's.
 * Needs Sentry's mark `_errorHandler` and the name
 * of Node's function: where one is missing, the app seems to have a handler of its own, so the error is not printed and starts no
 * shutdown.
 */
function neverExits(listener: object): boolean {
  return '_errorHandler' in listener || Reflect.get(listener, 'name') === 'domainUncaughtExceptionClear'
}
