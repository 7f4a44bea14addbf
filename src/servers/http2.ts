import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import { retryAfterSeconds } from './answers.ts'

/**
 * Tells a session in two steps that the server goes away: first with the largest id, so that no stream that is on its way is
 * refused, then, when the client has heard of it, with the real one. Only while a stream is open: behind a GOAWAY of its own
 * nghttp2 reads no more from a session without any, so that a stream that is on its way would wait in vain.
 */
export function goAway(session: ServerHttp2Session): void {
  if (session.closed || session.destroyed) return
  session.goaway(noError, largestId)
  // In a turn of its own, for nghttp2 sends a PING before all that waits. Its answer comes behind what the client has sent.
  setImmediate(() => {
    if (!session.closed && !session.destroyed) session.ping((error) => void (error === null && session.close()))
  })
}

/** Streams whose answer has an end. */
export function ordinaryStreams(session: ServerHttp2Session): ServerHttp2Stream[] {
  return openStreams(session).filter((stream) => !isEventStream(stream))
}

/**
 * Needs `session[kState].streams`, all that are open. Where it is missing a session still ends by itself when its last stream has
 * ended, but event streams are not told.
 */
export function openStreams(session: ServerHttp2Session): ServerHttp2Stream[] {
  stateKey ??= symbolNamed('state', session)
  const { streams } = (Reflect.get(session, stateKey) ?? {}) as { streams?: Map<number, ServerHttp2Stream> }
  return [...(streams?.values() ?? [])]
}

export function endEventStreams(session: ServerHttp2Session): void {
  for (const stream of openStreams(session).filter(isEventStream)) {
    stream.on('error', () => {}) // 'write after end': the app may go on writing
    stream.end()
  }
}

/** Streams whose time is up: 503 where no answer has begun, then the end. */
export async function cutStreams(session: ServerHttp2Session): Promise<void> {
  for (const stream of openStreams(session)) {
    stream.on('error', () => {})
    if (stream.headersSent || stream.destroyed) continue
    stream.respond({ ':status': 503, 'retry-after': String(retryAfterSeconds) }, { endStream: true })
  }
  session.close()
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => void setImmediate(resolve)) // until it is written
  session.destroy()
}

/** Needs `stream[kRequest]`, which Node's compatibility layer puts there; without it only the number is known. */
export function nameOfStream(stream: ServerHttp2Stream): { method: string; url: string } {
  const request = Reflect.get(stream, symbolNamed('request', stream)) as { method: string; url: string } | undefined
  return request ?? { method: 'stream', url: String(stream.id) }
}

/** The client may send it again elsewhere: it has not been looked at. */
export function refuseStream(stream: ServerHttp2Stream): void {
  stream.on('error', () => {}) // which is that it was refused
  stream.close(refusedStream)
}

// From `node:http2`'s constants, which an app that does not use it need not load.
const noError = 0
const refusedStream = 7
const largestId = 2 ** 31 - 1

let stateKey: symbol | undefined

function symbolNamed(name: string, holder: object): symbol {
  return Object.getOwnPropertySymbols(holder).find(({ description }) => description === name) ?? Symbol(name)
}

function isEventStream(stream: ServerHttp2Stream): boolean {
  return stream.headersSent && String(stream.sentHeaders['content-type']).startsWith('text/event-stream')
}
