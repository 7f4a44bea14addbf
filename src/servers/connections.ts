import type { ServerHttp2Session } from 'node:http2'
import type { Server as NetServer, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { debug } from '../log.ts'
import type { DrainOptions } from '../options.ts'
import { nodeSymbol } from '../platform/private-fields.ts'
import type { Running } from '../state.ts'
import type { SocketIoServer } from './socket-io.ts'
import { type Connection, isBrokenOffByApp, newConnection } from './connection.ts'

/** A server of http, https or http2. */
export type Server = NetServer & { closeAllConnections?(): void }

/** The counters of the report that a drain counts into. */
export type Counts = Running['connections']

/**
 * The connections of one server. Requests are followed only from the start of the drain: following them before it cost a server that
 * does nothing else 6 % of its requests.
 */
export interface Connections {
  readonly server: Server
  readonly all: Map<Socket, Connection>
  /** True if connections older than the tracking are included. */
  readonly complete: boolean
  /** There was a connection, once. */
  used: boolean
  /** When there are this many connections, those that were passed to other processes are forgotten. */
  sweepAt: number
  /** All sockets share one listener, because a listener for each took half a kilobyte per connection. */
  readonly onSocketClosed: (this: Socket) => void

  // From here on: what the drain sets.
  counts: Counts | undefined
  /** A connection that has been idle for this long may be closed. */
  lingerMs: number
  isEndless: DrainOptions['isEndless']
  /** The Socket.IO servers that are attached to the server. */
  readonly socketIo: Set<SocketIoServer>
  /** When the close was announced (`performance.now()`): from then on every answer says `Connection: close`. Infinity before. */
  closeAnnouncedAt: number
  /** When the drain delay ends, in which the close is announced to one connection after the other. -Infinity without a delay. */
  delayEndsAt: number
  /** Stops following the requests. */
  stopWatching: (() => void) | undefined
  lastRequestAt: number
  /** The last time that a request arrived on a connection that had been idle for `lingerMs`: there are slow clients. */
  lastLateRequestAt: number
  /** Requests that were ended because their clients did not continue with them. */
  stalled: string[]
  /** Called when a connection has closed, or a request or a stream has ended. */
  onChange: () => void
  /** The drain is over: the app may close what it likes. */
  isDrained: boolean
}

/** The sockets of all servers that are drained. */
const trackedSockets = new WeakSet<object>()

const leastSweep = 256

/** Tracks the connections of a server. Those of HTTP/1 that exist already are included. */
export function trackConnections(server: Server): Connections {
  const before = socketsOf(server, 'all')
  const connections: Connections = {
    server,
    all: new Map(),
    complete: before !== undefined || !server.listening, // because Node makes its list when the server begins to listen
    used: false,
    sweepAt: leastSweep,
    onSocketClosed() {
      const connection = connections.all.get(this)
      if (connection === undefined) return
      connection.brokenOffByApp += connection.responses.filter((it) => isBrokenOffByApp(it, connection)).length
      forget(connections, connection)
    },
    counts: undefined,
    lingerMs: Infinity,
    isEndless: undefined,
    socketIo: new Set(),
    closeAnnouncedAt: Infinity,
    delayEndsAt: -Infinity,
    stopWatching: undefined,
    lastRequestAt: -Infinity,
    lastLateRequestAt: -Infinity,
    stalled: [],
    onChange: () => {},
    isDrained: false,
  }
  for (const socket of before ?? []) track(socket, connections)
  // 'session' is emitted during the event that brings its socket, before our listener for that event is called.
  let newest: ServerHttp2Session | undefined
  server.on('session', (session: ServerHttp2Session) => void (newest = session))
  const onSocket = (socket: Socket) => {
    track(socket, connections, newest)
    newest = undefined
  }
  server.on('connection', onSocket)
  // With TLS another socket carries the requests; the raw one is its handshake.
  server.on('secureConnection', (socket: TLSSocket) => {
    forgetHandshakeOf(socket, connections)
    onSocket(socket)
  })
  return connections
}

export function track(socket: Socket, connections: Connections, session?: ServerHttp2Session): Connection {
  const connection = newConnection(socket, session)
  if (connections.all.size >= connections.sweepAt) forgetPassedOn(connections)
  connections.all.set(socket, connection)
  connections.used = true
  trackedSockets.add(socket)
  socket.on('close', connections.onSocketClosed)
  return connection
}

/** Whether this socket belongs to a server that is drained. */
export function isTracked(socket: object | undefined): boolean {
  return socket !== undefined && trackedSockets.has(socket)
}

/** Forgets the connection at once instead of waiting for 'close': Node's teardown takes as long again, and nothing depends on it. */
export function close(connections: Connections, connection: Connection): void {
  connection.socket.destroy()
  forget(connections, connection)
}

/** Closes all connections at the end of a drain, also untracked ones. Node's own method may throw if a library has changed Node's parsers. */
export function closeAll({ all, server }: Connections): void {
  for (const socket of all.keys()) socket.destroy()
  try {
    server.closeAllConnections?.()
  } catch (error) {
    debug('servers', 'closeAllConnections() failed: %o', error)
  }
}

/**
 * Whether a connection was passed to another process, with `child.send(message, socket)`: it emits no 'close'. Needs `socket._handle`;
 * where it is missing such connections are kept, and closed as idle ones by the drain. Bun's sockets never have one.
 */
export function isPassedOn({ socket, session }: Connection): boolean {
  const hasNoHandle = (socket as { _handle?: unknown })._handle === null && !('bun' in process.versions)
  return session === undefined && hasNoHandle && !socket.destroyed
}

/**
 * Needs `[kConnections]`, the list that Node's own `closeAllConnections` asks: all that http has, or those in the middle of a
 * request. Where it is missing, connections that were made before are closed at the end, and half a head counts as idle.
 */
export function socketsOf(server: Server, which: 'all' | 'active'): Socket[] | undefined {
  const key = nodeSymbol(server, 'http.server.connections')
  const list =
    key && (server as unknown as Record<symbol, Record<typeof which, () => { socket?: Socket | null }[]>>)[key]
  return list?.[which]?.().flatMap(({ socket }) => socket ?? [])
}

/** Each connection is checked a constant number of times on average, because the next sweep waits until their number has doubled. */
function forgetPassedOn(connections: Connections): void {
  for (const connection of connections.all.values()) {
    if (isPassedOn(connection)) connections.all.delete(connection.socket)
  }
  connections.sweepAt = Math.max(leastSweep, 2 * connections.all.size)
}

function forget(connections: Connections, connection: Connection): void {
  if (!connections.all.delete(connection.socket)) return
  if (connections.counts !== undefined) count(connections.counts, connection)
  connections.onChange()
}

function count(counts: Counts, { countsAsEnded, wasCut, brokenOffByApp }: Connection): void {
  if (wasCut) return // counted by its requests
  debug('servers', 'a connection was %s', countsAsEnded ? 'ended' : brokenOffByApp > 0 ? 'cut' : 'drained')
  if (countsAsEnded) counts.ended++
  else if (brokenOffByApp > 0) counts.cut += brokenOffByApp
  else counts.drained++
}

/**
 * Needs `TLSSocket#_parent`; where it is missing the handshake's socket is found by its address, which takes longer, and over a Unix
 * socket is not possible: there it is tracked too, and closed as an idle connection.
 */
function forgetHandshakeOf(socket: Socket, connections: Connections): void {
  const { _parent: raw = socketTo(socket, connections) } = socket as { _parent?: Socket }
  if (raw !== undefined) connections.all.delete(raw)
}

function socketTo({ remoteAddress, remotePort }: Socket, { all }: Connections): Socket | undefined {
  if (remotePort === undefined) return undefined
  return [...all.keys()].find((socket) => socket.remotePort === remotePort && socket.remoteAddress === remoteAddress)
}

/** Whether a value is a server of http, https or http2. Tells by methods that no other server has. */
export function isServer(value: unknown): value is Server {
  if (typeof value !== 'object' || value === null || !('listening' in value)) return false
  const methods = value as { closeIdleConnections?: unknown; updateSettings?: unknown }
  return typeof (methods.closeIdleConnections ?? methods.updateSettings) === 'function'
}
