import type { ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import { performance, setImmediate, setTimeout } from '../time/timers.ts'
import { type Connection, hasUnread } from './connection.ts'
import { openStreams } from './http2-streams.ts'

/**
 * Sends GOAWAY when the server has read all that the client has sent, because nghttp2 ignores every stream that arrives after GOAWAY was
 * sent. After the first wait it is sent only if the client still waits for an answer: a client that has its answer may be sending the
 * next request at this moment. Then the stream of that request brings the next call.
 */
export function sendGoaway(connection: Connection): void {
  const { session } = connection
  if (session === undefined || connection.goawaySentAt !== undefined) return
  const send = () => {
    connection.goawaySentAt = performance.now()
    sendInTwoSteps(session)
  }
  if (isAllRead(connection)) return send()
  if (connection.goawayWaits) return
  connection.goawayWaits = true
  const until = performance.now() + longestUnreadMs
  const sendWhenRead = () => {
    if (connection.goawaySentAt !== undefined || session.destroyed) return
    if (hasUnread(connection) && performance.now() < until) return void setTimeout(sendWhenRead, 1)
    connection.goawayWaits = false
    connection.tlsOverhead = tlsOverheadOf(connection)
    if (openStreams(session).length > 0 || connection.goawayWaited > 0) send()
    connection.goawayWaited++
  }
  // With TLS one read brings several records, and Node emits the streams of the first one before it decrypts the next one.
  setImmediate(sendWhenRead)
}

/**
 * How many bytes TLS has added to those of a session. Needs `TLSSocket#_parent`; where it is missing GOAWAY is sent a turn of the loop
 * later, when a fast client may have sent another stream.
 */
export function tlsOverheadOf({ socket }: Connection): number {
  const { encrypted, _parent: raw } = socket as { encrypted?: boolean; _parent?: Socket }
  return encrypted === true ? (raw?.bytesRead ?? Number.NaN) - socket.bytesRead : 0
}

/**
 * The first GOAWAY has the largest stream id: the client opens no new streams, and those on their way are answered. The second one, sent
 * when the client has acknowledged the first, has the real id: the client knows which streams it has to send again elsewhere. To be called
 * only while a stream is open, because after GOAWAY nghttp2 reads no more from a session without streams.
 */
function sendInTwoSteps(session: ServerHttp2Session): void {
  if (session.closed || session.destroyed) return
  session.goaway(noError, largestId)
  // In another turn, because nghttp2 sends a PING before everything that waits. The answer to the PING follows what the client has sent.
  setImmediate(() => {
    if (!session.closed && !session.destroyed) session.ping((error) => void (error === null && session.close()))
  })
}

function isAllRead(connection: Connection): boolean {
  if (hasUnread(connection)) return false
  return tlsOverheadOf(connection) - connection.tlsOverhead < leastUnread
}

// From `node:http2`'s constants: an app that does not use HTTP/2 need not load that module.
const noError = 0
const largestId = 2 ** 31 - 1

// TLS adds 22 bytes or more to each record. The sum is for one record that was decrypted, and one that was not, with an empty frame of 9
// bytes.
const leastUnread = 22 + 22 + 9

// GOAWAY waits no longer than this: some clients never pause, and some take no answers, so that Node reads nothing from them.
const longestUnreadMs = 500
