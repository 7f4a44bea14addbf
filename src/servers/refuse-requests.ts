import type { EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { nextTick } from '../time/timers.ts'
import { answer503, answer503BeforeBody, answer503ToUpgrade } from './answer-503.ts'
import { refuseStream } from './http2-streams.ts'
import { interceptEvents } from './intercept-events.ts'

/** Sockets whose further requests the app does not get. */
const ignored = new WeakSet<object>()

/**
 * From now on upgrades and tunnels are answered 503, because they would have no end. So are the requests that `refused` says. Returns a function that
 * stops refusing.
 */
export function refuseRequests(
  server: EventEmitter,
  refused: 'all' | 'none' | ((request: IncomingMessage) => boolean),
): () => void {
  const isRefused = (event: string | symbol, request: unknown) =>
    typeof refused === 'function' ? event === 'request' && refused(request as IncomingMessage) : refused === 'all'
  const stopIntercepting = interceptEvents(server, (emit, event, args) => {
    if (isIgnored(event, args[0])) return true
    const refusal =
      refusalsOfUpgrades.get(event) ?? (isRefused(event, args[0]) ? refusalsOfRequests.get(event) : undefined)
    if (isRequestOfHttp1(event, args[0])) {
      nextTick(() => void (refusal === undefined ? emit(event, ...args) : refusal(...(args as never[]))))
      return true
    }
    if (refusal === undefined) return emit(event, ...args)
    refusal(...(args as never[]))
    return true
  })
  // Without a listener for this event, Node itself asks the client for the body.
  if (refused === 'all') server.on('checkContinue', answer503BeforeBody)
  return () => {
    server.off('checkContinue', answer503BeforeBody)
    stopIntercepting()
  }
}

/** From now on all that arrives on this socket is read and thrown away: the app does not get it. */
export function ignoreRequestsOn(socket: object): void {
  ignored.add(socket)
}

type Refusals = ReadonlyMap<string | symbol, (...args: never[]) => void>

const refusalsOfUpgrades: Refusals = new Map([
  ['upgrade', answer503ToUpgrade],
  ['connect', answer503ToUpgrade],
])

const refusalsOfRequests: Refusals = new Map<string, (...args: never[]) => void>([
  ['request', answer503],
  ['checkContinue', answer503BeforeBody],
  ['checkExpectation', answer503BeforeBody],
  ['stream', refuseStream],
])

function isIgnored(event: string | symbol, request: unknown): boolean {
  if (!refusalsOfUpgrades.has(event) && !refusalsOfRequests.has(event)) return false
  const { socket } = request as Partial<IncomingMessage>
  if (socket === undefined || !ignored.has(socket)) return false
  ;(request as IncomingMessage).resume()
  return true
}

/**
 * A request of HTTP/1 is passed on when the parser has read all bytes that arrived with it. Otherwise an answer that the app makes at
 * once would say close although the next request of a pipelining client arrived with the same bytes.
 */
function isRequestOfHttp1(event: string | symbol, request: unknown): boolean {
  return refusalsOfRequests.has(event) && event !== 'stream' && (request as IncomingMessage).httpVersionMajor === 1
}
