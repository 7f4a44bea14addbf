import { registerHook } from '../hooks/register-hook.ts'
import type { DrainOptions, Given } from '../options.ts'
import { type Unregister, unregisterBy } from '../unregister.ts'
import { isTracked, type Server } from './connections.ts'
import { drainSettings } from './drain-settings.ts'
import { countsOfReport, registerServer, unregisterServer } from './register-server.ts'
import { endWebSockets, httpServerOf, trackWebSockets, type WebSocketServer } from './websockets.ts'

const registeredWebSocketServers = new WeakMap<object, RegisteredWebSocketServer>()

interface RegisteredWebSocketServer {
  readonly httpServer: Server | undefined
  options: Given<DrainOptions>
  unregister: Unregister
}

/** Its WebSockets are ended by the drain of its http server, or, where it has none (`noServer`), by a hook of their own. */
export function registerWebSocketServer(server: WebSocketServer, options: Given<DrainOptions>): void {
  const httpServer = httpServerOf(server)
  const known = registeredWebSocketServers.get(server)
  const sockets = known ?? { httpServer, options, unregister: unregisterBy(() => {}) }
  if (known === undefined) trackWebSockets(server)
  registeredWebSocketServers.set(server, sockets)
  if (httpServer !== undefined) return registerServer(httpServer, options)
  sockets.options = { ...sockets.options, ...options }
  sockets.unregister()
  sockets.unregister = registerHook({
    name: 'WebSocket server',
    stage: 'intake',
    hook: async (context) => {
      const ended = await endWebSockets(server, drainSettings(sockets.options), context.remainingMs(), isTracked)
      countsOfReport().ended += ended
    },
  })
}

/** Unregisters its http server too. */
export function unregisterWebSocketServer(server: object): void {
  const sockets = registeredWebSocketServers.get(server)
  if (sockets === undefined) return
  sockets.unregister()
  if (sockets.httpServer !== undefined) unregisterServer(sockets.httpServer)
}
