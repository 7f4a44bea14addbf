import type { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { retryAfterSeconds, unavailable } from './answers.ts'
import { refuseStream } from './http2.ts'

/**
 * From now on upgrades and tunnels are answered 503, for they would have no end; and so are requests, where those are refused
 * too. In front of whatever the app listens with, also later. Returns its undo.
 */
export function refuse(server: EventEmitter, requestsToo: boolean): () => void {
  const before = Object.getOwnPropertyDescriptor(server, 'emit')
  const emit = server.emit.bind(server)
  const guarded = (event: string | symbol, ...args: unknown[]): boolean => {
    const answer = endless.get(event) ?? (requestsToo ? requests.get(event) : undefined)
    if (answer === undefined) return emit(event, ...args)
    answer(...(args as never[]))
    return true
  }
  server.emit = guarded
  // Where nobody listens, Node asks for the body by itself.
  if (requestsToo) server.on('checkContinue', answerWithoutBody)
  return () => {
    server.off('checkContinue', answerWithoutBody)
    if (server.emit !== guarded) return // somebody else has wrapped it since
    if (before === undefined) Reflect.deleteProperty(server, 'emit')
    else Object.defineProperty(server, 'emit', before)
  }
}

type Answers = ReadonlyMap<string | symbol, (...args: never[]) => void>

const endless: Answers = new Map([
  ['upgrade', refuseSocket],
  ['connect', refuseSocket],
])

const requests: Answers = new Map<string, (...args: never[]) => void>([
  ['request', answerThenRead],
  ['checkContinue', answerWithoutBody],
  ['checkExpectation', answerWithoutBody],
  ['stream', refuseStream],
])

function refuseSocket(_request: IncomingMessage, socket: Duplex): void {
  socket.on('error', () => {}) // the client has left
  socket.end(unavailable, () => socket.destroy())
}

/** What the client is still sending is read to its end: closed before, the answer would be lost in a reset. */
function answerThenRead(request: IncomingMessage, response: ServerResponse): void {
  writeHead(response).flushHeaders()
  request.resume().once('end', () => response.end())
}

function answerWithoutBody(_request: IncomingMessage, response: ServerResponse): void {
  writeHead(response).end()
}

function writeHead(response: ServerResponse): ServerResponse {
  return response.writeHead(503, { 'Retry-After': retryAfterSeconds, 'Content-Length': 0 })
}
