import type { EventEmitter } from 'node:events'
import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { DrainSettings } from './drain-settings.ts'
import { newPace, spreadOver } from './pace.ts'
import { performance } from '../time/timers.ts'
import { pause } from '../time/wait.ts'
import { watchFrames, writeFrame } from './websocket-frames.ts'

const reason = 'shutdown'

/** The clients of `ws` by their socket. */
const clientOf = new WeakMap<Duplex, WebSocket>()

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

/** Whether a value is a WebSocketServer of `ws`. */
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

/** Remembers which client belongs to which socket, so that `ws` itself sends the close frame. */
export function trackWebSockets(server: WebSocketServer): void {
  server.on('connection', (client, request) => clientOf.set(request.socket, client))
}

/**
 * The http server of a WebSocketServer: the one it was given, or the one it made for its `port`. Undefined with `noServer`. Needs
 * `_server`, where `ws` keeps it; where it is missing the http server that `ws` made is not drained.
 */
export function httpServerOf(server: WebSocketServer): Server | undefined {
  return server.options.server ?? (server as { _server?: Server | null })._server ?? undefined
}

/**
 * Watches what is written on sockets that ask for a WebSocket. Listens only while the app does, because Node takes an upgrade for an
 * ordinary request where nobody listens.
 */
export function watchUpgrades(server: EventEmitter): void {
  const onUpgrade = (request: IncomingMessage, socket: Duplex) => {
    if (request.headers.upgrade?.toLowerCase() === 'websocket') watchFrames(socket)
  }
  const isOurs = (listener: unknown) => listener === onUpgrade
  const listen = () => {
    if (!server.listeners('upgrade').some(isOurs)) server.prependListener('upgrade', onUpgrade)
  }
  if (server.listenerCount('upgrade') > 0) listen()
  server.on('newListener', (event: string, listener: unknown) => {
    if (event === 'upgrade' && !isOurs(listener)) listen()
  })
  server.on('removeListener', (event: string) => {
    if (event === 'upgrade' && server.listeners('upgrade').every(isOurs)) server.off('upgrade', onUpgrade)
  })
}

/** Sends a close frame: `ws` does so for its clients; for another library's it is written here. */
export function sendGoingAway(socket: Socket, closeCode: number): void {
  const client = clientOf.get(socket)
  if (client !== undefined) client.close(closeCode, reason)
  else if (socket.writable) writeFrame(socket, closeFrame(closeCode))
}

/** FIN and opcode 8, then the length of the payload, unmasked like everything that a server sends: the code and the reason. */
function closeFrame(code: number): Buffer {
  return Buffer.from([0x88, 2 + reason.length, code >> 8, code & 0xff, ...Buffer.from(reason)])
}

/**
 * For a WebSocketServer without an http server of its own (`noServer`): sends a close frame to its clients, evenly over their time, and
 * terminates them `endlessMs` later. Clients on a tracked connection are left to the drain of that server. Resolves with their number.
 */
export async function endWebSockets(
  server: WebSocketServer,
  { endlessMs, spreadMs, closeCode }: Pick<DrainSettings, 'endlessMs' | 'spreadMs' | 'closeCode'>,
  wholeMs: number,
  isTracked: (socket: Duplex | undefined) => boolean,
): Promise<number> {
  const clients = [...server.clients].filter((client) => !isTracked(socketOf(client)))
  const beganAt = performance.now()
  const pace = newPace(spreadOver(clients.length, spreadMs, wholeMs), beganAt)
  for (const [index, client] of clients.entries()) {
    const left = clients.length - index
    for (let now = beganAt; !pace.takeOne(now, left); now = performance.now()) await pause(pace.nextAt(now, left) - now)
    client.close(closeCode, reason)
  }
  const until = performance.now() + endlessMs
  while (clients.some((client) => server.clients.has(client)) && performance.now() < until) await pause(5)
  for (const client of clients) client.terminate()
  return clients.length
}

/** Needs `_socket`, where `ws` keeps it; where it is missing a client may get 1001, and be counted, twice. */
function socketOf(client: WebSocket): Duplex | undefined {
  return (client as { _socket?: Duplex })._socket
}
