import type { Http2Server, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import type { Server } from 'node:net'
import { abortController } from '../hooks/abort.ts'
import { state } from '../state.ts'
import { markAsLongLived } from './long-lived.ts'

/** The parts of a server of `@grpc/grpc-js` that are needed here. */
export interface GrpcServer {
  addService(...args: never[]): unknown
  bindAsync(...args: never[]): unknown
  tryShutdown(...args: never[]): unknown
}

interface Handler {
  readonly type: 'unary' | 'clientStream' | 'serverStream' | 'bidi'
  func: (call: HealthCall, callback: (error: null, value: object) => void) => unknown
}

/** A call of the health service, as its handler gets it. */
interface HealthCall {
  write?(value: object): unknown
  on(event: 'cancelled', listener: () => void): unknown
}

/** Streaming calls, and whether each was ended here. */
const streamingCalls = new WeakMap<ServerHttp2Stream, { isEnded: boolean }>()
const changedHandlers = new WeakSet<object>()

/** Whether a value is a server of `@grpc/grpc-js`. */
export function isGrpcServer(value: unknown): value is GrpcServer {
  if (typeof value !== 'object' || value === null) return false
  const { addService, bindAsync, tryShutdown } = value as Readonly<Record<string, unknown>>
  return [addService, bindAsync, tryShutdown].every((method) => typeof method === 'function')
}

/**
 * The http2 servers of a gRPC server: one for each address that it is bound to. Needs `http2Servers`, where grpc-js keeps them; where it
 * is missing the gRPC server is not drained, and `drainOnShutdown` throws.
 */
export function http2ServersOf(grpc: GrpcServer): ReadonlySet<Server> | undefined {
  const { http2Servers } = grpc as { http2Servers?: unknown }
  return http2Servers instanceof Map ? new Set((http2Servers as Map<Server, unknown>).keys()) : undefined
}

/**
 * Recognises the streaming calls of a server. Only when a call begins its headers tell its kind, so this is the one thing that is done for
 * each call before a shutdown.
 */
export function watchCalls(grpc: GrpcServer, server: Server): void {
  answerHealthChecks(grpc)
  const handlers = handlersOf(grpc)
  ;(server as Http2Server).prependListener('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    const { type = 'unary' } = handlers?.get(headers[':path'] as string) ?? {}
    if (type === 'unary') return
    streamingCalls.set(stream, { isEnded: false })
    markAsLongLived(stream)
  })
}

/** Whether a stream is a streaming call, which is given its time before it is ended. */
export function isStreamingCall(stream: ServerHttp2Stream): boolean {
  return streamingCalls.has(stream)
}

/** Ends the streaming calls among some streams with the status UNAVAILABLE. Returns whether there were any. */
export function endStreamingCalls(streams: readonly ServerHttp2Stream[]): boolean {
  let found = false
  for (const stream of streams) {
    const call = streamingCalls.get(stream)
    if (call === undefined || call.isEnded) continue
    call.isEnded = true
    found = true
    endCall(stream)
  }
  return found
}

// The code of UNAVAILABLE: the client may try again, elsewhere.
const unavailable = { 'grpc-status': '14', 'grpc-message': 'the server shuts down' }

function endCall(stream: ServerHttp2Stream): void {
  stream.on('error', () => {}) // 'write after end': the app may continue to write
  if (stream.destroyed || stream.closed) return
  if (!stream.headersSent) {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...unavailable }, { endStream: true })
    stream.close() // else grpc-js would answer again, which throws
    return
  }
  stream.once('wantTrailers', () => {
    if (stream.sentTrailers !== undefined) return
    stream.sendTrailers(unavailable)
    stream.sendTrailers = () => {} // grpc-js may send a status of its own, which would throw
  })
  stream.end()
}

/** The watchers of the service's health. */
const watchers = new Set<HealthCall>()
const notServing = { status: 2 }

/**
 * From the signal on, health checks are answered with NOT_SERVING, where the service of `grpc.health.v1` is there. Needs `handlers`, where
 * grpc-js keeps the handlers of its services; where it is missing health checks are answered as before, and streaming calls count as
 * ordinary requests.
 */
function answerHealthChecks(grpc: GrpcServer): void {
  const handlers = handlersOf(grpc)
  change(handlers?.get('/grpc.health.v1.Health/Check'), (original) => (call, callback) => {
    if (state.running === undefined) return original(call, callback)
    callback(null, notServing)
  })
  change(handlers?.get('/grpc.health.v1.Health/Watch'), (original) => (call, callback) => {
    watchers.add(call)
    call.on('cancelled', () => watchers.delete(call))
    if (state.running === undefined) return original(call, callback)
    call.write?.(notServing)
  })
}

function change(handler: Handler | undefined, by: (original: Handler['func']) => Handler['func']): void {
  if (handler === undefined || changedHandlers.has(handler)) return
  changedHandlers.add(handler)
  handler.func = by(handler.func)
  abortController().signal.addEventListener('abort', () => {
    for (const call of watchers) call.write?.(notServing)
    watchers.clear()
  })
}

function handlersOf(grpc: GrpcServer): Map<string, Handler> | undefined {
  const { handlers } = grpc as { handlers?: unknown }
  return handlers instanceof Map ? (handlers as Map<string, Handler>) : undefined
}
