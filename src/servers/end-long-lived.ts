import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { answer503InsteadOfApp } from './answer-503.ts'
import { type Connection, isUpgraded } from './connection.ts'
import type { Connections } from './connections.ts'
import { endLongLivedStreams, openStreams } from './http2-streams.ts'
import { closeSession } from './socket-io.ts'
import { sendGoingAway } from './websockets.ts'

/**
 * Asks a long-lived connection to end: a WebSocket by `closeCode`, an event stream by the end of its answer. A part of a request head is left
 * alone, because it may still become a request.
 */
export function endLongLived({ socketIo }: Connections, connection: Connection, closeCode: number): void {
  const { socket, session, responses } = connection
  const isOpen = session === undefined ? responses.length > 0 || isUpgraded(socket) : openStreams(session).length > 0
  if (connection.countsAsEnded || !isOpen) return
  connection.countsAsEnded = session === undefined || endLongLivedStreams(session)
  if (session !== undefined) return
  if (isUpgraded(socket)) return sendGoingAway(socket, closeCode)
  for (const response of responses) response.on('error', () => {}) // 'write after end': the app may continue to write
  const [request] = responses.map(({ req }) => req)
  if (request !== undefined && closeSession(socketIo, request)) return
  if (answer503InsteadOfApp(socket, responses[0])) return
  for (const response of responses) endAnswer(response, socket)
}

function endAnswer(response: ServerResponse, socket: Socket): void {
  try {
    response.end()
  } catch {
    socket.destroySoon() // with strictContentLength, where the answer is shorter than it says
  }
}
