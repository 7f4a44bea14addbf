import type { IncomingMessage } from 'node:http'

/** The parts of a Socket.IO server that are needed here. */
export interface SocketIoServer {
  /** The server that it is attached to. */
  readonly httpServer?: object | undefined
  /** Undefined before it is attached. */
  readonly engine?: { readonly clients: Readonly<Record<string, { close(): void }>> }
  /** Where it listens, such as `/socket.io`. */
  path(): string
  of(name: string): unknown
  close(): unknown
}

type AnyRequest = Pick<IncomingMessage, 'method' | 'url'>

/** Whether a value is a Socket.IO server. */
export function isSocketIoServer(value: unknown): value is SocketIoServer {
  if (typeof value !== 'object' || value === null) return false
  const { of, path, attach } = value as Readonly<Record<string, unknown>>
  return [of, path, attach].every((method) => typeof method === 'function') && 'sockets' in value
}

/** Whether a request waits for the next message of a client: it is held back until there is one. */
export function isLongPoll(servers: Iterable<SocketIoServer>, request: AnyRequest): boolean {
  return [...servers].some((io) => sessionIn(io, request) !== undefined && request.method === 'GET')
}

/** The same where the server is not known. The client comes back after a 503. */
export function looksLikeLongPoll({ method, url = '' }: AnyRequest): boolean {
  return method === 'GET' && polling.test(url) && /[?&]EIO=\d/.test(url)
}

/** Whether a request begins a session. On a kept connection it would come to a server that stops. */
export function isHandshake(servers: Iterable<SocketIoServer>, request: AnyRequest): boolean {
  return [...servers].some((io) => isOf(io, request) && sessionIn(io, request) === undefined)
}

/** Asks the client of a long poll to go. Its answer ends the poll. Returns false if no session is known by that name. */
export function closeSession(servers: Iterable<SocketIoServer>, request: AnyRequest): boolean {
  for (const io of servers) {
    const client = io.engine?.clients[sessionIn(io, request) ?? '']
    if (client === undefined) continue
    client.close()
    return true
  }
  return false
}

const polling = /[?&]transport=polling\b/

function isOf(io: SocketIoServer, { url = '' }: AnyRequest): boolean {
  return url.startsWith(io.path()) && polling.test(url)
}

function sessionIn(io: SocketIoServer, request: AnyRequest): string | undefined {
  return isOf(io, request) ? /[?&]sid=([^&#]+)/.exec(request.url ?? '')?.[1] : undefined
}
