import type { Server as HttpServer } from 'node:http'
import type { Http2SecureServer, Http2Server } from 'node:http2'
import type { Server as HttpsServer } from 'node:https'
import type { Server as NetServer } from 'node:net'
import { checkDrainOptions, type DrainOptions, expectThat, isDisabled, isRevoked } from '../options.ts'
import { isServer, type Server } from '../servers/connections.ts'
import { isGrpcServer, http2ServersOf } from '../servers/grpc.ts'
import { isNetServer, registerNetServer, unregisterNetServer } from '../servers/net-server.ts'
import {
  registerGrpcServer,
  registerServer,
  registerSocketIoServer,
  unregisterGrpcServer,
  unregisterServer,
} from '../servers/register-server.ts'
import { registerWebSocketServer, unregisterWebSocketServer } from '../servers/register-web-socket-server.ts'
import { isSocketIoServer, type SocketIoServer } from '../servers/socket-io.ts'
import { isWebSocketServer } from '../servers/websockets.ts'
import { install } from '../start/install.ts'

/** What `drainOnShutdown` takes: a server of http, https or http2 (Express's and Koa's `listen()` return one), of `ws`, Socket.IO, `@grpc/grpc-js`, net or tls. */
export type DrainableServer =
  | HttpServer
  | HttpsServer
  | Http2Server
  | Http2SecureServer
  | NetServer
  | { readonly httpServer: object; readonly of: (...args: never[]) => unknown; readonly engine: object }
  | { readonly bindAsync: (...args: never[]) => unknown; readonly tryShutdown: (...args: never[]) => unknown }
  | { readonly clients: ReadonlySet<object>; readonly handleUpgrade: (...args: never[]) => void }

export function drainOnShutdown<Drained extends DrainableServer>(server: Drained, options: DrainOptions = {}): Drained {
  const given = checkDrainOptions(options)
  const isSocketIo = !isRevoked(server) && isSocketIoServer(server)
  const isGrpc = !isRevoked(server) && isGrpcServer(server)
  const knowsProtocol = isSocketIo || isGrpc || (!isRevoked(server) && (isWebSocketServer(server) || isServer(server)))
  expectThat(
    knowsProtocol || (!isRevoked(server) && isNetServer(server)),
    'the server',
    'an http, https, http2, net or tls server (what `app.listen()` returns), or a server of ws, Socket.IO or gRPC',
    server,
  )
  expectThat(given.goodbye === undefined || !knowsProtocol, '`goodbye`', 'given only with a net or tls server', server)
  const isKnownGrpc = !isGrpc || http2ServersOf(server) !== undefined
  expectThat(isKnownGrpc, 'the gRPC server', 'one of @grpc/grpc-js 1.10 or later', server)
  const httpServer = isSocketIo ? httpServerOfSocketIo(server) : undefined
  if (isDisabled()) return server
  install()
  if (isSocketIo && httpServer !== undefined) registerSocketIoServer(server, httpServer, given)
  else if (isGrpc) registerGrpcServer(server, given)
  else if (isWebSocketServer(server)) registerWebSocketServer(server, given)
  else if (isServer(server)) registerServer(server, given)
  else if (isNetServer(server)) registerNetServer(server, given)
  return server
}

/** The http server that a Socket.IO server is attached to. */
function httpServerOfSocketIo({ httpServer }: SocketIoServer): Server {
  expectThat(
    !isRevoked(httpServer) && isServer(httpServer),
    'the Socket.IO server',
    'attached to an http, https or http2 server',
    httpServer,
    ': call `attach` first',
  )
  return httpServer
}

export function undrain(server: DrainableServer): void {
  if (isRevoked(server)) return
  if (isGrpcServer(server)) return unregisterGrpcServer(server)
  const isSocketIo = isSocketIoServer(server)
  unregisterServer(isSocketIo ? (server.httpServer ?? server) : server)
  unregisterWebSocketServer(server)
  unregisterNetServer(server)
}
