import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { performance } from '../time/timers.ts'
import { type Connection, hasUnread } from './connection.ts'
import { addConnectionClose } from './connection-close-header.ts'
import type { Connections } from './connections.ts'
import { sendGoaway } from './http2-goaway.ts'
import { openStreams } from './http2-streams.ts'
import { isLongLived } from './long-lived.ts'
import { ignoreRequestsOn } from './refuse-requests.ts'

/**
 * From now on every answer whose head is not sent yet says `Connection: close`. An HTTP/2 session is sent GOAWAY if it has a stream, else
 * as soon as it has one.
 */
export function announceClose(connections: Connections): void {
  connections.closeAnnouncedAt = performance.now()
  for (const connection of connections.all.values()) {
    if (connection.session !== undefined && openStreams(connection.session).length > 0) sendGoaway(connection)
    for (const response of connection.responses) announceCloseIn(connections, connection, response)
  }
}

export function isCloseAnnounced({ closeAnnouncedAt }: Connections): boolean {
  return closeAnnouncedAt !== Infinity
}

/**
 * Spreads the announcement over a drain delay that begins: each connection has its turn, and says close with its next answer after that.
 * So clients do not all connect again at the end of the delay, when a balancer may send them to the same place.
 */
export function spreadCloseOver(connections: Connections, delayMs: number): void {
  const beganAt = performance.now()
  connections.delayEndsAt = beganAt + delayMs
  let turn = 0
  for (const connection of connections.all.values()) {
    connection.announceCloseAt = beganAt + (delayMs * ++turn) / connections.all.size
  }
}

/** Whether the next answer on this connection says close, or its session is sent GOAWAY. */
export function isCloseAnnouncedOn(connections: Connections, connection: Connection): boolean {
  if (isCloseAnnounced(connections)) return true
  const now = performance.now()
  const leftMs = connections.delayEndsAt - now
  if (leftMs <= 0) return false
  // A connection that was made during the delay serves its client for a while: half of what is left, or more.
  connection.announceCloseAt ??= now + leftMs * (1 + Math.random()) * 0.5
  return now >= connection.announceCloseAt
}

export function announceCloseIn(connections: Connections, connection: Connection, response: ServerResponse): void {
  const isLast = () => {
    const { closingAnswer, lastPipelined, responses } = connection
    if (closingAnswer !== undefined || lastPipelined !== undefined) return closingAnswer === response
    return responses.at(-1) === response && !isFollowed(connections, connection, response)
  }
  // An event stream that begins now is not an ordinary request any more.
  const onHead = () => void (isLongLived(response) && connections.onChange())
  // The app does not get the requests that follow, because their answers could not be sent.
  const onLast = () => {
    connection.closingAnswer = response
    ignoreRequestsOn(connection.socket)
    if (response.req.complete && hasUnread(connection)) endThenRead(connection.socket)
  }
  addConnectionClose(response, { isLast, onHead, onLast })
}

/**
 * Makes the answer to the last request that has arrived by now the one that says close. What the client sends after that request is
 * read and ignored until the client has the answer.
 */
export function acceptNoMoreRequests(connection: Connection): void {
  const { socket, responses } = connection
  const response = responses.at(-1)
  if (response === undefined || connection.closingAnswer !== undefined || connection.lastPipelined !== undefined) return
  if (response.headersSent && response.socket !== null) return
  connection.closingAnswer = response
  ignoreRequestsOn(socket)
  endThenRead(socket)
}

/** Closes a connection whose event stream has ended: the head said keep-alive, so Node would leave the socket open. */
export function closeAfterStream(connection: Connection): void {
  if (hasUnread(connection)) return // the next request
  connection.countsAsEnded = true
  connection.socket.destroySoon()
}

/** Whether the client has sent more after this request. After `lingerMs` that no longer counts, because a client may write without end. */
function isFollowed(connections: Connections, connection: Connection, { req }: ServerResponse): boolean {
  const { closeAnnouncedAt, lingerMs } = connections
  return req.complete && performance.now() - closeAnnouncedAt < lingerMs && hasUnread(connection)
}

/**
 * Makes the socket only send its FIN where Node would close it. A close while the client still writes would reset the connection, and the
 * client would lose the last answer.
 */
function endThenRead(socket: Socket): void {
  socket.destroySoon = () => {
    Reflect.deleteProperty(socket, 'destroySoon')
    socket.end()
  }
}
