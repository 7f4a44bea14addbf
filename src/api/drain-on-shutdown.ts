import type { Server as HttpServer } from 'node:http'
import type { Http2SecureServer, Http2Server } from 'node:http2'
import type { Server as HttpsServer } from 'node:https'
import { checkDrainOptions, type DrainOptions, expectThat, isDisabled, isRevoked } from '../options.ts'
import { isServer } from '../servers/connections.ts'
import { registerServer, unregisterServer } from '../servers/register-server.ts'
import { registerWebSocketServer, unregisterWebSocketServer } from '../servers/register-web-socket-server.ts'
import { isWebSocketServer } from '../servers/websockets.ts'
import { install } from '../start/install.ts'

/** What `drainOnShutdown` takes: a server of http, https or http2 (Express's and Koa's `listen()` return one), or of `ws`. */
export type DrainableServer =
  | HttpServer
  | HttpsServer
  | Http2Server
  | Http2SecureServer
  | { readonly clients: ReadonlySet<object>; readonly handleUpgrade: (...args: never[]) => void }

export function drainOnShutdown<Drained extends DrainableServer>(server: Drained, options: DrainOptions = {}): Drained {
  const given = checkDrainOptions(options)
  const isKnown = !isRevoked(server) && (isWebSocketServer(server) || isServer(server))
  expectThat(
    isKnown,
    'the server',
    'an http, https or http2 server (what `app.listen()` returns) or a ws server',
    server,
  )
  if (isDisabled()) return server
  install()
  if (isWebSocketServer(server)) registerWebSocketServer(server, given)
  else if (isServer(server)) registerServer(server, given)
  return server
}

export function undrain(server: DrainableServer): void {
  unregisterServer(server)
  unregisterWebSocketServer(server)
}
