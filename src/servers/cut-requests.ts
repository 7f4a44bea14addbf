import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { counted } from '../log.ts'
import { performance } from '../time/timers.ts'
import { turnOfLoop } from '../time/wait.ts'
import { answer503InsteadOfApp } from './answer-503.ts'
import { type Connection, hasUnread, isIdle } from './connection.ts'
import type { Connections } from './connections.ts'
import { cutStreams, openStreams } from './http2-streams.ts'
import { nameOfRequest, ordinaryRequests, type Request } from './ordinary-requests.ts'
import { stalledMs } from './stalled-requests.ts'

/** Cuts what is still open when the time is up. Returns the names of the ordinary requests among it. */
export async function cutRemaining(connections: Connections): Promise<string[]> {
  if (connections.all.size === 0) return []
  await turnOfLoop() // what had arrived by then is read
  const cutting: Promise<Request[]>[] = []
  const ending: Promise<void>[] = []
  let unread = 0
  for (const connection of connections.all.values()) {
    const ordinary = ordinaryRequests(connection)
    if (ordinary.length === 0 && connection.goawaySentAt === undefined && isIdle(connection) && hasUnread(connection)) {
      unread++
      connection.wasCut = true
      connection.socket.destroy()
      continue
    }
    const waitedMs = ordinary.length > 0 ? stalledMs(connection, performance.now()) : 0
    if (waitedMs > 0 && waitedMs >= connections.lingerMs) {
      ending.push(endStalled(connections, connection))
    } else if (ordinary.length > 0) {
      cutting.push(cutConnection(connection))
    } else {
      const { session } = connection
      connection.countsAsEnded ||= session === undefined ? !isIdle(connection) : openStreams(session).length > 0
      connection.socket.destroySoon()
    }
  }
  const requests = (await Promise.all(cutting)).flat()
  await Promise.all(ending)
  if (connections.counts !== undefined) connections.counts.cut += requests.length + unread
  const names = requests.map(nameOfRequest)
  if (unread > 0) names.push(`${counted(unread, 'request')} that it had no time to read`)
  return names
}

/** Ends requests with which their client does not continue. That is the client's fault, so it is no reason for exit code 124. */
export async function endStalled(connections: Connections, connection: Connection): Promise<void> {
  const requests = ordinaryRequests(connection)
  connections.stalled.push(...requests.map(nameOfRequest))
  if (connections.counts !== undefined) connections.counts.ended += requests.length
  await cutConnection(connection)
}

/**
 * Resets a connection, so that a cut answer does not look complete, and the kernel does not continue to send it. A Unix socket cannot be
 * reset. Needs `TLSSocket#_parent`, the raw socket; where it is missing a connection with TLS is only closed.
 */
export function reset(socket: Socket): void {
  const { _parent: raw } = socket as { _parent?: Socket | null }
  try {
    ;(raw ?? socket).resetAndDestroy()
  } catch {
    // A Unix socket.
  }
  socket.destroy()
}

/** Ends ordinary requests whose time is up: with 503 if the answer has not begun. Resolves with those that were cut. */
async function cutConnection(connection: Connection): Promise<Request[]> {
  const requests = ordinaryRequests(connection)
  connection.wasCut = true
  const { socket, session, responses } = connection
  if (session !== undefined) {
    const streams = await cutStreams(session)
    connection.wasCut = streams.length > 0
    return streams
  }
  if (answer503InsteadOfApp(socket, responses[0])) return requests
  if (responses.some(endsWithSocket)) reset(socket)
  else socket.destroy()
  return requests
}

/**
 * Whether the end of the connection is the end of the answer, as with HTTP/1.0. Needs `response._header`; where it is missing this is
 * false, and a client takes a cut answer for a complete one.
 */
function endsWithSocket(response: ServerResponse): boolean {
  const { _header: head } = response as { _header?: string | null }
  return typeof head === 'string' && !/^(content-length|transfer-encoding):/im.test(head)
}
