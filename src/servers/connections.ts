import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Server as NetServer, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { native } from '../native.ts'
import { isEventStream, sayClose, unavailable } from './answers.ts'
import { cutStreams, endEventStreams, goAway, nameOfStream, openStreams, ordinaryStreams } from './http2.ts'
import { sayGoingAway } from './websocket.ts'

/** A server of http, https or http2. */
export type Server = NetServer & { closeAllConnections?(): void }

/**
 * The connections of one server. What is known of each is as old as the drain: nothing is done per request before it, for
 * that alone took 6 % of an empty server's requests.
 */
export interface Connections {
  readonly server: Server
  readonly all: Map<Socket, Connection>
  /** Node has told of those that were there before, too. */
  readonly complete: boolean
  /** There was a connection, once. */
  used: boolean
  /** From the moment the listener is closed: every answer says `Connection: close`. */
  telling: boolean
  lastRequestAt: number
  /** A connection that has been idle for so long may be closed. */
  lingerMs: number
  /** The last time that a request came on one that might have been closed: there are slow clients. */
  lastLateRequestAt: number
  /** Called when a connection has closed. */
  onClosed: (connection: Connection) => void
  /** One listener for all sockets: one of its own for each took half a kilobyte a connection. */
  readonly onSocketClosed: (this: Socket) => void
}

/** What is told of a request that had to be cut. */
export interface Request {
  readonly method?: string | undefined
  readonly url?: string | undefined
}

export interface Connection {
  readonly socket: Socket
  /** With HTTP/2, whose streams take the place of the responses. */
  readonly session: ServerHttp2Session | undefined
  /** When a session was told that the server goes away, as `performance.now()`. */
  goAwayAt: number | undefined
  /** Requests whose answers are not finished, in their order: several with pipelining. */
  readonly responses: ServerResponse[]
  /** The last request of several that had been read before the drain: its answer is known when its turn has come. */
  waiting: IncomingMessage | undefined
  /** The last time that bytes went either way, as `performance.now()`. */
  usedAt: number
  /** Bytes read when the connection was last between two requests. More than that: half a request head. */
  bytesBetween: number
  /** `bytesBetween` at the last look, to see whether a poll phase brought any. */
  bytesSeen: number
  /** When what has no end of its own (or is half a request head) is ended at the latest, once that is decided. */
  goBy: number | undefined
  /** Told that the server goes away, as what has no end of its own is. */
  told: boolean
  /** Cut in the middle of an ordinary request. */
  cut: boolean
}

/** Tracks the connections of a server, those of HTTP/1 that are there already included. */
export function trackConnections(server: Server): Connections {
  const before = socketsOf(server, 'all')
  const connections: Connections = {
    server,
    all: new Map(),
    complete: before !== undefined || !server.listening, // which is when the list is made
    used: false,
    telling: false,
    lastRequestAt: -Infinity,
    lingerMs: Infinity,
    lastLateRequestAt: -Infinity,
    onClosed: () => {},
    onSocketClosed() {
      const connection = connections.all.get(this)
      if (connection !== undefined) forget(connections, connection)
    },
  }
  for (const socket of before ?? []) track(socket, connections)
  // Comes while the event is handed out that brings its socket, before we are told of that.
  let newest: ServerHttp2Session | undefined
  server.on('session', (session: ServerHttp2Session) => void (newest = session))
  const onSocket = (socket: Socket) => {
    track(socket, connections, newest)
    newest = undefined
  }
  server.on('connection', onSocket)
  // With TLS it is another socket that carries the requests; the raw one is its handshake.
  server.on('secureConnection', (socket: TLSSocket) => {
    forgetHandshakeOf(socket, connections)
    onSocket(socket)
  })
  return connections
}

/** From now on it is known what goes on on every connection. Returns its end, for a process that lives on. */
export function watchRequests(connections: Connections, lingerMs: number): () => void {
  const now = performance.now()
  connections.lingerMs = lingerMs
  const receiving = new Set(socketsOf(connections.server, 'active'))
  for (const connection of connections.all.values()) {
    const { socket } = connection
    connection.usedAt = now - (silentMs(connection) ?? 0)
    connection.bytesBetween = receiving.has(socket) ? 0 : socket.bytesRead
    connections.lastRequestAt = Math.max(connections.lastRequestAt, connection.usedAt)
    takeUp(connections, connection)
  }
  // Not the server's 'request' event: an app may take that over, and `Expect: 100-continue` goes another way.
  const onRequestStart = (message: unknown) => {
    const { server, socket, response } = message as { server: object; socket: Socket; response: ServerResponse }
    if (server === connections.server) onRequest(connections, socket, response)
  }
  const onStream = ({ session }: ServerHttp2Stream) => {
    const connection = session && ofSession.get(session)
    if (connection === undefined) return
    connection.usedAt = performance.now()
    if (connections.telling) tellSession(connection)
  }
  subscribe('http.server.request.start', onRequestStart)
  connections.server.on('stream', onStream)
  return () => {
    unsubscribe('http.server.request.start', onRequestStart)
    connections.server.off('stream', onStream)
  }
}

/** Does this socket belong to a server that is drained? */
export function isTracked(socket: object | undefined): boolean {
  return socket !== undefined && trackedSockets.has(socket)
}

/**
 * Every answer whose head is not sent yet says `Connection: close`, and so does every later one. With HTTP/2 every session is
 * told that has a stream, and the others as soon as they have.
 */
export function tellAll(connections: Connections): void {
  connections.telling = true
  for (const connection of connections.all.values()) {
    if (connection.session !== undefined && openStreams(connection.session).length > 0) tellSession(connection)
    for (const response of connection.responses) tell(connection, response)
  }
}

/** Requests whose head is complete and whose answer has an end. A download and a long poll are among them. */
export function ordinaryRequests({ responses, waiting, session }: Connection): Request[] {
  if (session !== undefined) return ordinaryStreams(session).map(nameOfStream)
  const requests = responses.filter((response) => !isEventStream(response)).map(({ req }) => req)
  return waiting === undefined ? requests : [...requests, waiting]
}

export function isAnswering({ responses, waiting, session }: Connection): boolean {
  if (session !== undefined) return ordinaryStreams(session).length > 0
  return waiting !== undefined || responses.some((response) => !isEventStream(response))
}

/**
 * Looks at an idle connection, which has read just what was there between two requests. True: no bytes came since the last look,
 * so that, a poll phase lying between, none wait.
 */
export function isQuiet(connection: Connection): boolean {
  const quiet = connection.bytesBetween === connection.bytesSeen
  connection.bytesSeen = connection.bytesBetween
  return quiet
}

/**
 * For how long no bytes have gone either way, as the kernel has it: those count too that nobody has read yet. Needs
 * `socket._handle.fd`. Undefined where the kernel does not tell.
 */
export function silentMs({ socket }: Connection): number | undefined {
  const { fd = -1 } = (socket as { _handle?: { fd?: number } | null })._handle ?? {}
  const ms = fd < 0 ? -1 : (native()?.silentMs(fd) ?? -1)
  return ms < 0 ? undefined : ms
}

/** Nothing is going on that a request could come of: it may be closed when it has been idle for long enough. */
export function isIdle({ responses, session, socket, bytesBetween }: Connection): boolean {
  if (session !== undefined) return !session.closed && openStreams(session).length === 0
  return responses.length === 0 && !isUpgraded(socket) && socket.bytesRead <= bytesBetween
}

/** Counts at once: what Node still does for a closed socket takes as long again, and behind the last one nobody needs it. */
export function close(connections: Connections, connection: Connection): void {
  connection.socket.destroy()
  forget(connections, connection)
}

/** Tells what has no end of its own to go; half a request head may still become a request. */
export function tellToGo(connection: Connection): void {
  const { socket, session, responses } = connection
  const isOpen = session === undefined ? responses.length > 0 || isUpgraded(socket) : openStreams(session).length > 0
  if (connection.told || !isOpen) return
  connection.told = true
  if (session !== undefined) return endEventStreams(session)
  if (isUpgraded(socket)) return sayGoingAway(socket)
  for (const response of responses) {
    response.on('error', () => {}) // 'write after end': the app may go on writing
    response.end()
  }
}

/** An ordinary request whose time is up: 503 where no answer has begun, then the end. */
export async function cut(connection: Connection): Promise<void> {
  connection.cut = true
  const { socket, session, responses } = connection
  if (session !== undefined) return cutStreams(session)
  // On the socket, not by the response: the app may still want to set headers, and that must not throw.
  if (responses[0]?.headersSent === false && socket.writable) {
    socket.write(unavailable)
    return socket.destroySoon()
  }
  socket.destroy()
}

const unseen = -1
const trackedSockets = new WeakSet<object>()
const ofSession = new WeakMap<object, Connection>()

function track(socket: Socket, connections: Connections, session?: ServerHttp2Session): Connection {
  const connection: Connection = {
    socket,
    session,
    goAwayAt: undefined,
    responses: [],
    waiting: undefined,
    usedAt: performance.now(),
    bytesBetween: 0,
    bytesSeen: unseen,
    goBy: undefined,
    told: false,
    cut: false,
  }
  connections.all.set(socket, connection)
  connections.used = true
  trackedSockets.add(socket)
  if (session !== undefined) ofSession.set(session, connection)
  socket.on('close', connections.onSocketClosed)
  return connection
}

function forget(connections: Connections, connection: Connection): void {
  if (connections.all.delete(connection.socket)) connections.onClosed(connection)
}

/** Needs `TLSSocket#_parent`; where it is missing the handshake's socket is tracked beside until it closes. */
function forgetHandshakeOf(socket: Socket, connections: Connections): void {
  const { _parent: raw } = socket as { _parent?: Socket }
  if (raw !== undefined) connections.all.delete(raw)
}

/**
 * Needs `[kConnections]`, the list that Node's own `closeAllConnections` asks: all that http has, or those in the middle of a
 * request. Where it is missing, connections that were made before are closed at the end, and half a head counts as idle.
 */
function socketsOf(server: Server, which: 'all' | 'active'): Socket[] | undefined {
  const key = Object.getOwnPropertySymbols(server).find(({ description }) => description === 'http.server.connections')
  const list = key && (server as unknown as Record<symbol, Record<typeof which, () => { socket: Socket }[]>>)[key]
  return list?.[which]?.().map(({ socket }) => socket)
}

/**
 * What is being answered on a connection. Needs `socket._httpMessage`, the first of the unfinished answers, and
 * `parser.incoming`, the last request: with pipelining there may be others between. Where they are missing, requests that
 * began before the drain are not waited for.
 */
function takeUp(connections: Connections, connection: Connection): void {
  const { _httpMessage: response, parser } = connection.socket as {
    _httpMessage?: ServerResponse | null
    parser?: { incoming?: IncomingMessage | null } | null
  }
  connection.waiting = undefined
  // Of an upgraded socket it is not Node's: some frameworks answer an upgrade with a response of their own.
  if (!response || !parser) return
  if (!connection.responses.includes(response)) {
    connection.responses.unshift(response)
    follow(connections, connection, response)
  }
  const last = parser.incoming ?? response.req
  if (connection.responses.every(({ req }) => req !== last)) connection.waiting = last
}

function onRequest(connections: Connections, socket: Socket, response: ServerResponse): void {
  const connection = connections.all.get(socket) ?? track(socket, connections)
  const now = performance.now()
  if (now - connection.usedAt >= connections.lingerMs) connections.lastLateRequestAt = now
  connection.responses.push(response)
  connection.usedAt = now
  connections.lastRequestAt = now
  follow(connections, connection, response)
}

function follow(connections: Connections, connection: Connection, response: ServerResponse): void {
  if (connections.telling) tell(connection, response)
  response.once('close', () => {
    connection.responses.splice(connection.responses.indexOf(response), 1)
    connection.usedAt = performance.now()
    connection.bytesBetween = connection.socket.bytesRead
    if (isEventStream(response)) leaveWithStream(connection)
    takeUp(connections, connection)
  })
}

function tellSession(connection: Connection): void {
  if (connection.session === undefined || connection.goAwayAt !== undefined) return
  connection.goAwayAt = performance.now()
  goAway(connection.session)
}

function tell(connection: Connection, response: ServerResponse): void {
  sayClose(response, () => connection.responses.at(-1) === response && connection.waiting === undefined)
}

/** By us or by the app itself, which has `shutdownSignal()`: its head has said keep-alive, and nothing else will follow. */
function leaveWithStream(connection: Connection): void {
  connection.told = true
  connection.socket.destroySoon()
}

/** Needs `socket.parser`: null once an upgrade (or CONNECT) has taken the socket away from http. */
function isUpgraded(socket: Socket): boolean {
  return (socket as { parser?: unknown }).parser === null
}
