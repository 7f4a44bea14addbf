import { onExit as atExit, load } from 'signal-exit'
import { warn, warnOf } from '../log.ts'
import { type Unregister, unregisterBy } from '../unregister.ts'

/** Called as the process exits, synchronously, with the exit code or with the signal that ended the process. */
export type ExitCallback = (code: number | null, signal: NodeJS.Signals | null) => void

const callbacks = new Set<{ readonly callback: ExitCallback }>()
let isListening = false
let isWarned = false
const skipped: ReadonlySet<string> = new Set(['SIGXFSZ', 'SIGABRT', 'SIGIOT', 'SIGSYS', 'SIGTRAP'])

/** From now on the callback is called, however the process ends. */
export function addExitCallback(callback: ExitCallback): Unregister {
  if (!isListening) listenForEveryExit()
  const registered = { callback }
  callbacks.add(registered)
  return unregisterBy(() => callbacks.delete(registered))
}

/**
 * Adds one callback to signal-exit, once. signal-exit would skip a callback when the one before it unregisters itself. And without
 * callbacks it would restore the `process.emit` that it found when it was imported, and so remove a later patch.
 */
function listenForEveryExit(): void {
  isListening = true
  loadSignalExit()
  atExit((code, signal) => {
    // A copy, as Node makes one: a callback that registers itself again would be called for ever.
    for (const registered of Array.from(callbacks)) {
      try {
        if (!callbacks.has(registered)) continue
        const returned: unknown = registered.callback(code ?? null, signal)
        if (process.getBuiltinModule('node:util').types.isPromise(returned)) warnOfPromise()
      } catch (error) {
        // Thrown again in the 'exit' event, the error would change the exit code.
        warnOf('an onExit callback failed', error)
      }
    }
    // With `true` signal-exit would keep the process alive.
    return undefined
  })
}

/** Whether the promise is rejected would be known only a turn later, when the process has exited. */
function warnOfPromise(): void {
  if (!isWarned) warn('an onExit callback returned a promise, which nothing awaits: use onShutdown')
  isWarned = true
}

/**
 * Loads signal-exit without its listeners for some signals: with one, SIGXFSZ, which Node ignores, would end the process, and the others
 * belong to debuggers and crash reporters. Removing a signal from the list that signal-exit exports would affect its other users, and
 * removing the listener again would restore the signal's default action. So `process.on` skips these signals meanwhile.
 */
function loadSignalExit(): void {
  const own = Object.getOwnPropertyDescriptor(process, 'on')
  const on = process.on.bind(process)
  const value = (name: NodeJS.Signals, listener: () => void) => (skipped.has(name) ? process : on(name, listener))
  Object.defineProperty(process, 'on', { value, configurable: true, writable: true })
  try {
    load()
  } finally {
    if (own === undefined) Reflect.deleteProperty(process, 'on')
    else Object.defineProperty(process, 'on', own)
  }
}
