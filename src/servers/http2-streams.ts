import type { Http2ServerRequest, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import { nodeSymbol } from '../platform/private-fields.ts'
import { turnOfLoop } from '../time/wait.ts'
import { answer503OnStream } from './answer-503.ts'
import { endStreamingCalls, isStreamingCall } from './grpc.ts'
import { isLongLivedAnswer } from './long-lived.ts'

/** Found once, because `openStreams` is called for every session of every scan. */
let stateKey: symbol | undefined

/**
 * The open streams of a session. Needs `session[kState].streams`. Where it is missing a session still ends by itself when its last stream
 * has ended, but event streams are not ended, and what is cut at the end is not counted.
 */
export function openStreams(session: ServerHttp2Session): ServerHttp2Stream[] {
  return [...(streamsOf(session)?.values() ?? [])]
}

/** Whether a closed session has answered all its streams, and only waits for its client to close its side. False where nobody knows. */
export function waitsForClient(session: ServerHttp2Session): boolean {
  return session.closed && streamsOf(session)?.size === 0
}

function streamsOf(session: ServerHttp2Session): Map<number, ServerHttp2Stream> | undefined {
  stateKey ??= nodeSymbol(session, 'state') ?? Symbol('state')
  return (Reflect.get(session, stateKey) as { streams?: Map<number, ServerHttp2Stream> } | undefined)?.streams
}

/** Streams that are not long-lived. */
export function ordinaryStreams(session: ServerHttp2Session): ServerHttp2Stream[] {
  return openStreams(session).filter((stream) => !isLongLivedStream(stream))
}

/** Whether there is a stream whose answer has not begun. */
export function hasUnanswered(session: ServerHttp2Session): boolean {
  return openStreams(session).some(({ headersSent }) => !headersSent)
}

/** A text that changes with every byte of a body, in either direction, and with what the client allows to be sent, but not with a PING. */
export function bytesMovedIn({ state }: ServerHttp2Session): string {
  return [state.remoteWindowSize, state.effectiveRecvDataLength, state.localWindowSize].join()
}

/**
 * Ends long-lived streams: cleanly if the answer has begun, else with 503. A streaming call of gRPC has the time of its session to end by
 * itself. Returns whether there were any.
 */
export function endLongLivedStreams(session: ServerHttp2Session): boolean {
  const streams = openStreams(session).filter(isLongLivedStream)
  for (const stream of streams) {
    if (isStreamingCall(stream)) continue
    stream.on('error', () => {}) // 'write after end': the app may continue to write
    if (stream.headersSent) stream.end()
    else answer503OnStream(stream)
  }
  return streams.length > 0
}

/**
 * Ends all streams of a session whose time is up: with 503 if the answer has not begun. Resolves with the names of the ordinary ones
 * that were cut. A stream whose answer the app has ended is still open for some turns of the loop, and gets all of its answer.
 */
export async function cutStreams(session: ServerHttp2Session): Promise<{ method: string; url: string }[]> {
  const ordinary = ordinaryStreams(session).map((stream) => ({
    stream,
    name: nameOfStream(stream), // not known any more when the stream has closed
    isUnanswered: !stream.headersSent,
  }))
  endStreamingCalls(openStreams(session))
  for (const stream of openStreams(session)) {
    stream.on('error', () => {})
    if (!stream.headersSent && !stream.destroyed) answer503OnStream(stream)
  }
  session.close()
  await turnOfLoop() // until the answers are written
  const cut = ordinary.filter(({ stream, isUnanswered }) => isUnanswered || !stream.writableFinished)
  session.destroy()
  return cut.map(({ name }) => name)
}

/** What stderr calls a stream. Without a request only the stream's number is known. */
export function nameOfStream(stream: ServerHttp2Stream): { method: string; url: string } {
  return requestOf(stream) ?? { method: 'stream', url: String(stream.id) }
}

/**
 * The request of a stream. Needs `stream[kRequest]`, which Node's compatibility layer puts there; a stream that does not pass that layer
 * has none. Where it is missing only the stream's number is known, and every event stream counts as one that answers a GET.
 */
export function requestOf(stream: ServerHttp2Stream): Http2ServerRequest | undefined {
  const key = nodeSymbol(stream, 'request')
  return key && (Reflect.get(stream, key) as Http2ServerRequest | undefined)
}

/** REFUSED_STREAM: the server has not processed the request, so the client may send it again elsewhere. */
export function refuseStream(stream: ServerHttp2Stream): void {
  stream.on('error', () => {}) // the error says that the stream was refused
  stream.close(refusedStream)
}

// From `node:http2`'s constants: an app that does not use HTTP/2 need not load that module.
const refusedStream = 7

/** The same rule as with HTTP/1. Without a request the method is not known: it counts as GET. */
function isLongLivedStream(stream: ServerHttp2Stream): boolean {
  const method = requestOf(stream)?.method ?? 'GET'
  return isLongLivedAnswer(stream, method, stream.headersSent ? `content-type: ${contentTypeOf(stream)}` : '')
}

function contentTypeOf(stream: ServerHttp2Stream): string {
  return String(stream.sentHeaders['content-type'])
}
