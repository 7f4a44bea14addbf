import type { Server } from 'node:net'
import { interceptEvents } from './intercept-events.ts'
import { closedByDrain } from './listener/stop-listening.ts'

type HttpServer = Server & { closeIdleConnections?(): void; closeAllConnections?(): void }

/**
 * Until its drain is over the app's own `close()` (a handler of its own for SIGTERM, a hook, `listen({ signal: shutdownSignal() })`,
 * a framework's) only waits for the drain: it would reset all connections that wait to be accepted, and close idle ones in bulk. If the
 * drain has closed the server, an app that closes it afterwards gets no error.
 */
export function holdAppClose(server: HttpServer, isHeld: () => boolean): void {
  const closeNow = server.close.bind(server)
  server.close = (callback?: (error?: Error) => void) => {
    const closed = closedByDrain.get(server)
    if (server.listening ? !isHeld() : closed === undefined) {
      closedByDrain.delete(server)
      return closeNow(callback)
    }
    if (typeof callback === 'function') server.once('close', callback)
    // Node emits 'close' again for every close.
    if (closed?.emitted === true && !server.listening) closeNow()
    return server
  }
  for (const name of ['closeIdleConnections', 'closeAllConnections'] as const) {
    const now = server[name]?.bind(server)
    if (now !== undefined) server[name] = () => void (isHeld() || now())
  }
}

/**
 * Until its drain is over the app does not learn that the server has closed, neither by the event nor by the callback of a `close()`: the
 * app may exit then, while answers are still on their way to their clients. Returns a function that emits the event if it was held.
 */
export function holdCloseEvent(server: Server): () => void {
  let isHolding = true
  let wasHeld = false
  const stopIntercepting = interceptEvents(server, (emit, event, args) => {
    if (event !== 'close' || !isHolding) return emit(event, ...args)
    wasHeld = true
    return true
  })
  return () => {
    isHolding = false
    stopIntercepting()
    if (wasHeld) server.emit('close')
  }
}
