import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { performance } from '../time/timers.ts'
import { announceCloseIn, closeAfterStream, isCloseAnnounced, isCloseAnnouncedOn } from './announce-close.ts'
import { type Connection, connectionOfSession, idleMsInKernel, isBrokenOffByApp, isUpgraded } from './connection.ts'
import { type Connections, socketsOf, track } from './connections.ts'
import { sendGoaway, tlsOverheadOf } from './http2-goaway.ts'
import { openStreams, requestOf } from './http2-streams.ts'
import { askApp, isLongLived } from './long-lived.ts'

/** Starts following requests, once: adopts those that are under way, and listens for new ones. */
export function watchRequests(connections: Connections): void {
  if (connections.stopWatching !== undefined) return
  const receiving = new Set(socketsOf(connections.server, 'active'))
  for (const connection of connections.all.values()) {
    adoptConnection(connections, connection, receiving.has(connection.socket))
  }
  // Not by the server's 'request' event: an app may intercept it, and for `Expect: 100-continue` Node emits another event instead.
  const onRequestStart = (message: unknown) => {
    const { server, socket, response } = message as { server: object; socket: Socket; response: ServerResponse }
    if (server === connections.server) onRequest(connections, socket, response)
  }
  const onStream = (stream: ServerHttp2Stream) => {
    askAppOfStream(connections, stream)
    const connection = connectionOfSession(stream.session)
    if (connection === undefined) return
    connection.usedAt = performance.now()
    watchStream(connections, connection, stream)
    if (isCloseAnnouncedOn(connections, connection)) sendGoaway(connection)
  }
  subscribe('http.server.request.start', onRequestStart)
  connections.server.on('stream', onStream)
  connections.stopWatching = () => {
    unsubscribe('http.server.request.start', onRequestStart)
    connections.server.off('stream', onStream)
    connections.stopWatching = undefined
  }
}

function adoptConnection(connections: Connections, connection: Connection, isReceiving: boolean): void {
  const { socket, session } = connection
  // An upgraded connection is never closed as an idle one, and there may be thousands.
  const isRequesting = !isUpgraded(socket)
  connection.usedAt = performance.now() - (isRequesting ? (idleMsInKernel(connection) ?? 0) : 0)
  connection.bytesBetween = isReceiving ? 0 : socket.bytesRead
  connection.tlsOverhead = session === undefined ? 0 : tlsOverheadOf(connection)
  if (isRequesting) connections.lastRequestAt = Math.max(connections.lastRequestAt, connection.usedAt)
  adoptResponse(connections, connection)
  for (const stream of session === undefined ? [] : openStreams(session)) {
    askAppOfStream(connections, stream)
    watchStream(connections, connection, stream)
  }
}

/**
 * Adopts what is being answered on a connection. Needs `socket._httpMessage`, the first of the unfinished answers, and
 * `parser.incoming`, the last request: with pipelining there may be others between. Where they are missing, no close is announced to
 * what began before the drain and nothing waits for it: its connection counts as idle.
 */
function adoptResponse(connections: Connections, connection: Connection): void {
  const { _httpMessage: response, parser } = connection.socket as {
    _httpMessage?: ServerResponse | null
    parser?: { incoming?: IncomingMessage | null } | null
  }
  connection.lastPipelined = undefined
  if (connection.closingAnswer !== undefined) return
  // On an upgraded socket the response is not Node's: some frameworks answer an upgrade with a response of their own.
  if (!response || !parser) return
  if (!connection.responses.includes(response)) {
    connection.responses.unshift(response)
    watchResponse(connections, connection, response)
  }
  const last = parser.incoming ?? response.req
  if (connection.responses.every(({ req }) => req !== last)) connection.lastPipelined = last
}

function onRequest(connections: Connections, socket: Socket, response: ServerResponse): void {
  const connection = connections.all.get(socket) ?? track(socket, connections)
  if (connection.closingAnswer !== undefined) return
  const now = performance.now()
  if (now - connection.usedAt >= connections.lingerMs) connections.lastLateRequestAt = now
  connection.responses.push(response)
  connection.restlessSince = undefined
  connection.usedAt = now
  connections.lastRequestAt = now
  watchResponse(connections, connection, response)
}

function watchResponse(connections: Connections, connection: Connection, response: ServerResponse): void {
  askApp(connections.isEndless, response, response.req)
  if (isCloseAnnouncedOn(connections, connection)) announceCloseIn(connections, connection, response)
  response.once('close', () => {
    connection.responses.splice(connection.responses.indexOf(response), 1)
    connection.usedAt = performance.now()
    connection.bytesBetween = connection.socket.bytesRead
    adoptResponse(connections, connection)
    const isLast = connection.responses.length === 0 && connection.lastPipelined === undefined
    // While new connections are still accepted the client may continue with another request, such as the next long poll.
    if (isLongLived(response) && isLast && isCloseAnnounced(connections)) closeAfterStream(connection)
    else if (isBrokenOffByApp(response, connection)) connection.brokenOffByApp++
    connections.onChange()
  })
}

function watchStream(connections: Connections, connection: Connection, stream: ServerHttp2Stream): void {
  stream.once('close', () => {
    connection.usedAt = performance.now()
    connections.onChange()
  })
}

function askAppOfStream({ isEndless }: Connections, stream: ServerHttp2Stream): void {
  const request = requestOf(stream)
  if (request !== undefined) askApp(isEndless, stream, request)
}
