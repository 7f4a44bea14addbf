import type { EventEmitter } from 'node:events'
import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { waitAtMost } from '../deadline.ts'
import { followFrames, writeFrame } from './frames.ts'

/** A WebSocket as `ws` has it. */
interface WebSocket {
  close(code: number, reason: string): void
  terminate(): void
}

/** The parts of a `ws` WebSocketServer that are needed here. */
export interface WebSocketServer {
  readonly clients: Set<WebSocket>
  readonly options: { readonly server?: Server | null }
  handleUpgrade(...args: never[]): void
  on(event: 'connection', listener: (client: WebSocket, request: IncomingMessage) => void): unknown
}

/** Tells a WebSocketServer of `ws` from a server. */
export function isWebSocketServer(value: unknown): value is WebSocketServer {
  return (
    typeof value === 'object' &&
    value !== null &&
    'clients' in value &&
    value.clients instanceof Set &&
    'handleUpgrade' in value &&
    typeof value.handleUpgrade === 'function'
  )
}

/** Remembers which client belongs to which socket, so that its own server says goodbye. */
export function trackWebSockets(server: WebSocketServer): void {
  server.on('connection', (client, request) => clientOf.set(request.socket, client))
}

/**
 * The http server that a WebSocketServer sits on: the one it was given, or the one it made for its `port`, which `ws` keeps
 * in `_server`. Undefined with `noServer`.
 */
export function httpServerOf(server: WebSocketServer): Server | undefined {
  return server.options.server ?? (server as { _server?: Server | null })._server ?? undefined
}

/** Notes which upgraded sockets are WebSockets. Listens only while the app does: Node asks whether anybody listens. */
export function noteUpgrades(server: EventEmitter): void {
  const noteUpgrade = (request: IncomingMessage, socket: Duplex) => {
    if (request.headers.upgrade?.toLowerCase() !== 'websocket') return
    upgraded.add(socket)
    socket.once('pipe', () => followFrames(socket))
  }
  const isOurs = (listener: unknown) => listener === noteUpgrade
  const listen = () => {
    if (!server.listeners('upgrade').some(isOurs)) server.prependListener('upgrade', noteUpgrade)
  }
  if (server.listenerCount('upgrade') > 0) listen()
  server.on('newListener', (event: string, listener: unknown) => {
    if (event === 'upgrade' && !isOurs(listener)) listen()
  })
  server.on('removeListener', (event: string) => {
    if (event === 'upgrade' && server.listeners('upgrade').every(isOurs)) server.off('upgrade', noteUpgrade)
  })
}

/** Tells the client that the server goes away (1001): by its own server, else by writing the close frame. */
export function sayGoingAway(socket: Socket): void {
  const client = clientOf.get(socket)
  if (client !== undefined) client.close(goingAway, why)
  else if (upgraded.has(socket) && socket.writable) writeFrame(socket, closeFrame)
}

/**
 * For a server without an http server of its own (`noServer`): its clients are told, and have so long to go. Those on a
 * tracked connection are left to the drain of that server. Returns how many it were.
 */
export async function endWebSockets(
  server: WebSocketServer,
  endlessMs: number,
  isTracked: (socket: Duplex | undefined) => boolean,
): Promise<number> {
  const clients = [...server.clients].filter((client) => !isTracked(socketOf(client)))
  for (const client of clients) client.close(goingAway, why)
  const until = performance.now() + endlessMs
  while (clients.some((client) => server.clients.has(client)) && performance.now() < until) await waitAtMost(5, [])
  for (const client of clients) client.terminate()
  return clients.length
}

/** Needs `_socket`, where `ws` keeps it; where it is missing a client may be told, and counted, twice. */
function socketOf(client: WebSocket): Duplex | undefined {
  return (client as { _socket?: Duplex })._socket
}

const goingAway = 1001
const why = 'shutdown'
// FIN and opcode 8, and the length of the payload, unmasked as all that a server sends: 1001, and why.
const closeFrame = Buffer.from([0x88, 2 + why.length, goingAway >> 8, goingAway & 0xff, ...Buffer.from(why)])

const clientOf = new WeakMap<Duplex, WebSocket>()
const upgraded = new WeakSet<Duplex>()
