import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import { native } from '../native.ts'
import { performance } from '../time/timers.ts'
import { fdOf } from '../platform/private-fields.ts'
import { openStreams } from './http2-streams.ts'
import { isLongLived } from './long-lived.ts'

/** A connection, and what the drain knows of it. Times are those of `performance.now()`. */
export interface Connection {
  readonly socket: Socket
  /** With HTTP/2, whose streams take the place of the responses. */
  readonly session: ServerHttp2Session | undefined

  /** Requests whose answers are not finished, in their order: several with pipelining. */
  readonly responses: ServerResponse[]
  /** The last of several pipelined requests that were read before the drain. Its response is known only when its turn has come. */
  lastPipelined: IncomingMessage | undefined
  /** In a drain delay: when the close is announced on this connection, by its next answer. Undefined before its turn is known. */
  announceCloseAt: number | undefined
  /** The answer that says `Connection: close`. Requests that a pipelining client has sent after that one get no answer. */
  closingAnswer: ServerResponse | undefined

  /** The last time that a request began or ended, or bytes were seen. */
  usedAt: number
  /** Bytes read when the connection was last between two requests. If more are read now, a part of a request head has arrived. */
  bytesBetween: number
  /** Since when bytes that make no request arrive on this idle connection. */
  restlessSince: number | undefined

  /** When to check again whether the client continues with its request. */
  checkStalledAt: number
  /** What had been transferred at the last check: bytes read, or with HTTP/2 the windows. */
  moved: string
  /** When `moved` last changed. */
  movedAt: number

  /** When a session was sent GOAWAY. */
  goawaySentAt: number | undefined
  /** GOAWAY waits until the server has read what the client has sent. */
  goawayWaits: boolean
  /** How often GOAWAY has waited before. */
  goawayWaited: number
  /** What TLS had added to the bytes of a session when the server had read all of them. */
  tlsOverhead: number

  /** Deadline of a long-lived connection, or of one with a part of a request head, once set. */
  closeBy: number | undefined
  /** It was asked to end, or ended, as a long-lived connection: the report counts it as `ended`. */
  countsAsEnded: boolean
  /** It was cut in the middle of an ordinary request. */
  wasCut: boolean
  /** How many answers the app itself has broken off. */
  brokenOffByApp: number
}

/** The connections of HTTP/2 sessions. */
const connectionOf = new WeakMap<object, Connection>()

export function newConnection(socket: Socket, session: ServerHttp2Session | undefined): Connection {
  const connection: Connection = {
    socket,
    session,
    responses: [],
    lastPipelined: undefined,
    announceCloseAt: undefined,
    closingAnswer: undefined,
    usedAt: performance.now(),
    bytesBetween: 0,
    restlessSince: undefined,
    checkStalledAt: -Infinity,
    moved: '',
    movedAt: -Infinity,
    goawaySentAt: undefined,
    goawayWaits: false,
    goawayWaited: 0,
    tlsOverhead: Number.NaN,
    closeBy: undefined,
    countsAsEnded: false,
    wasCut: false,
    brokenOffByApp: 0,
  }
  if (session !== undefined) connectionOf.set(session, connection)
  return connection
}

export function connectionOfSession(session: object | undefined): Connection | undefined {
  return session && connectionOf.get(session)
}

/** Whether no request is under way, not even a part of a request head. Such a connection may be closed when it has been idle for long. */
export function isIdle({ responses, session, socket, bytesBetween }: Connection): boolean {
  if (session !== undefined) return !session.closed && openStreams(session).length === 0
  return responses.length === 0 && !isUpgraded(socket) && socket.bytesRead <= bytesBetween
}

/**
 * For how many milliseconds the kernel has seen no bytes in either direction; 0 while it holds bytes that nobody has read. Undefined
 * where the kernel cannot be asked.
 */
export function idleMsInKernel({ socket }: Connection): number | undefined {
  const ms = native()?.idleMs(fdOf(socket)) ?? -1
  return ms < 0 ? undefined : ms
}

/** Whether the kernel holds bytes that nobody has read. False where the kernel cannot be asked. */
export function hasUnread({ socket }: Connection): boolean {
  return (native()?.unreadBytes(fdOf(socket)) ?? 0) > 0
}

/**
 * Needs `socket.parser`: null once an upgrade (or CONNECT) has taken the socket away from http. Where it is missing, upgraded
 * connections count as idle, and are closed without a close frame.
 */
export function isUpgraded(socket: Socket): boolean {
  return (socket as { parser?: unknown }).parser === null
}

/** Whether the app has broken off an answer: the client is still there, and does not have all of it. */
export function isBrokenOffByApp(response: ServerResponse, { socket }: Connection): boolean {
  const { code } = (socket.errored ?? {}) as NodeJS.ErrnoException
  const isClientGone = socket.readableEnded || /^(ECONNRESET|EPIPE|ETIMEDOUT|HPE_|ERR_SSL)/.test(code ?? '')
  return !response.writableFinished && !isClientGone && !isLongLived(response)
}
