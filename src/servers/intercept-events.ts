import type { EventEmitter } from 'node:events'

/** `EventEmitter#emit`, as it was before. */
export type Emit = (event: string | symbol, ...args: unknown[]) => boolean

/**
 * Passes every event of the server to `intercept` before any listener gets it: listeners that the app adds later do not come first
 * either. Returns a function that stops this.
 */
export function interceptEvents(
  server: EventEmitter,
  intercept: (emit: Emit, event: string | symbol, args: readonly unknown[]) => boolean,
): () => void {
  const before = Object.getOwnPropertyDescriptor(server, 'emit')
  const emit: Emit = server.emit.bind(server)
  const intercepted: Emit = (event, ...args) => intercept(emit, event, args)
  server.emit = intercepted
  return () => {
    if (server.emit !== intercepted) return // other code has wrapped it since
    if (before === undefined) Reflect.deleteProperty(server, 'emit')
    else Object.defineProperty(server, 'emit', before)
  }
}
