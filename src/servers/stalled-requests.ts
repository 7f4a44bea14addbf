import type { Readable } from 'node:stream'
import { type Connection, idleMsInKernel } from './connection.ts'
import { bytesMovedIn, ordinaryStreams } from './http2-streams.ts'

/**
 * For how many milliseconds the requests of a connection have waited for nothing but their client, which sends no more of a body although
 * the app reads it, or takes no more of an answer. 0 where they wait for the app.
 */
export function stalledMs(connection: Connection, now: number): number {
  const { socket, session, responses, lastPipelined } = connection
  const moved = session === undefined ? String(socket.bytesRead) : bytesMovedIn(session)
  if (moved !== connection.moved) {
    connection.moved = moved
    connection.movedAt = now
  }
  // The kernel cannot tell for HTTP/2: a PING is traffic too, and does not continue any request.
  const idleMs = session === undefined ? idleMsInKernel(connection) : undefined
  const isStalled =
    session === undefined
      ? lastPipelined === undefined &&
        responses.length === 1 &&
        responses.every((response) => waitsForClient(response.req, idleMs === undefined ? 0 : socket.writableLength))
      : ordinaryStreams(session).every((stream) => waitsForClient(stream, stream.writableLength))
  return isStalled ? (idleMs ?? now - connection.movedAt) : 0
}

/** Whether the client has not taken all of the answer, or the app waits for the rest of the body and has read all that has arrived. */
function waitsForClient(request: Readable & { complete?: boolean }, unsentBytes: number): boolean {
  if (unsentBytes > 0) return true
  const isComplete = request.complete ?? request.readableEnded
  return !isComplete && request.readableFlowing !== null && request.readableLength === 0
}
