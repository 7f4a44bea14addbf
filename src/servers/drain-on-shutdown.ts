import { registerHook } from '../hooks.ts'
import { checkDrainOptions, type DrainOptions, expectThat, isDisabled } from '../options.ts'
import { state, undo, type Unregister } from '../state.ts'
import { isTracked, type Server, trackConnections } from './connections.ts'
import { drain, type DrainedServer, drainSettings } from './drain.ts'
import { holdClose } from './listener.ts'
import {
  endWebSockets,
  httpServerOf,
  isWebSocketServer,
  noteUpgrades,
  trackWebSockets,
  type WebSocketServer,
} from './websocket.ts'

export function drainOnShutdown<Drained extends object>(server: Drained, options: DrainOptions = {}): Drained {
  checkDrainOptions(options)
  const isKnown = isWebSocketServer(server) || isServer(server)
  expectThat(
    isKnown,
    'the server',
    'an http, https or http2 server (what `app.listen()` returns) or a ws server',
    server,
  )
  if (isDisabled()) return server
  if (isWebSocketServer(server)) registerWebSocketServer(server, options)
  else if (isServer(server)) registerServer(server, options)
  return server
}

interface Registered extends DrainedServer {
  options: DrainOptions
  unregister: Unregister
}

/** A server that is drained twice is drained once, with the options of both. */
const registered = new WeakMap<object, Registered>()
const registeredWebSocketServers = new WeakSet<object>()

function registerServer(server: Server, options: DrainOptions): void {
  const known = registered.get(server)
  if (known !== undefined) {
    known.options = { ...known.options, ...options }
    return register(known)
  }
  const drained = {
    server,
    options,
    connections: trackConnections(server),
    unregister: undo(() => {}),
  }
  registered.set(server, drained)
  noteUpgrades(server)
  // From the first moment on, for hooks may run before the drain, and those who listen to shutdownSignal() do.
  holdClose(server, () => state.running !== undefined)
  register(drained)
  // One that begins to listen during a shutdown is drained too; one that closes by itself is forgotten.
  server.on('listening', () => register(drained))
  server.on('close', () => drained.unregister())
}

function register(drained: Registered): void {
  drained.unregister()
  drained.unregister = registerHook({
    name: nameOf(drained.server),
    hook: (context) => drain(drained, context),
    stage: 'intake',
    endsItself: true,
  })
}

function registerWebSocketServer(server: WebSocketServer, options: DrainOptions): void {
  if (registeredWebSocketServers.has(server)) return
  registeredWebSocketServers.add(server)
  trackWebSockets(server)
  const httpServer = httpServerOf(server)
  if (httpServer !== undefined) return registerServer(httpServer, options)
  registerHook({
    name: 'WebSocket server',
    stage: 'intake',
    hook: async () => {
      const ended = await endWebSockets(server, drainSettings(options).endlessMs, isTracked)
      if (state.running !== undefined) state.running.connections.ended += ended
    },
  })
}

/** Known by a method that only a server of http or https has, and one that only a server of http2 has. */
function isServer(value: unknown): value is Server {
  if (typeof value !== 'object' || value === null || !('listening' in value)) return false
  const methods = value as { closeIdleConnections?: unknown; updateSettings?: unknown }
  return typeof (methods.closeIdleConnections ?? methods.updateSettings) === 'function'
}

function nameOf(server: Server): string {
  const address = server.address()
  if (address === null) return 'the server'
  return typeof address === 'string' ? `the server on ${address}` : `the server on port ${address.port}`
}
