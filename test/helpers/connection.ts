import { connect as connectTcp, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'

/** A connection on which the test itself writes every byte. */
export interface Connection {
  send(text: string): void
  /** Ends its own side (FIN). */
  end(): void
  /** Waits for text in all that was received. Rejects when the connection ends without it. */
  received(pattern: RegExp): Promise<RegExpExecArray>
  /** All that was received, and how the server ended the connection: cleanly, or by a reset. */
  readonly ended: Promise<{ readonly text: string; readonly how: 'FIN' | 'reset' }>
}

export interface DialOptions {
  readonly tls?: boolean
  readonly host?: string
  /** Keeps its own side open when the server has ended the other one. */
  readonly stays?: boolean
  /** The TLS handshake runs over this connection. */
  readonly over?: Socket
}

/** Connects to a port of this machine. Rejects with `ECONNREFUSED` if no server listens. */
export async function dial(
  t: TestContext,
  port: number,
  { tls, host = '127.0.0.1', stays, over }: DialOptions = {},
): Promise<Connection> {
  const address = { port, host, allowHalfOpen: stays === true, ...(over && { socket: over }) }
  const socket = tls === true ? connectTls({ ...address, rejectUnauthorized: false }) : connectTcp(address)
  t.after(() => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    socket.once(tls === true ? 'secureConnect' : 'connect', resolve)
    socket.once('error', reject)
  })
  return follow(socket)
}

export interface RequestOptions {
  readonly version?: '1.0' | '1.1'
  /** Further headers, each with its end of line. */
  readonly headers?: string
}

/** A complete GET request, by default of HTTP/1.1. */
export function requestFor(path: string, { version = '1.1', headers = '' }: RequestOptions = {}): string {
  return `GET ${path} HTTP/${version}\r\nHost: localhost\r\n${headers}\r\n`
}

/** The head of a POST with a body of this length. */
export function postFor(path: string, length: number, headers = ''): string {
  return requestFor(path, { headers: `Content-Length: ${length}\r\n${headers}` }).replace('GET', 'POST')
}

/** Sends a request and waits for the whole answer. */
export async function ask(connection: Connection): Promise<void> {
  connection.send(requestFor('/'))
  await connection.received(/answered/)
}

/** The request of a browser that opens a WebSocket. */
export function upgradeFor(path: string): string {
  const headers =
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
  return requestFor(path, { headers })
}

/** Connects until it is refused, and closes each connection that is accepted before that. */
export async function waitUntilRefused(port: number): Promise<void> {
  let refused = false
  while (!refused) {
    const socket = connectTcp({ port, host: '127.0.0.1' })
    refused = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(false))
      socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'))
    })
    socket.destroy()
    // Without a pause the queue of the server could overflow. A SYN that is dropped then is refused only a second later.
    await wait(2)
  }
}

function follow(socket: Socket): Connection {
  let text = ''
  let how: 'FIN' | 'reset' | undefined
  const watchers = new Set<() => void>()
  const tellWatchers = () => watchers.forEach((watcher) => watcher())
  const end = (ending: 'FIN' | 'reset') => {
    how ??= ending
    tellWatchers()
  }
  socket.on('data', (data: Buffer) => {
    text += data.toString('latin1')
    tellWatchers()
  })
  socket.on('error', () => end('reset'))
  socket.on('end', () => end('FIN'))
  const waitFor = <Value>(look: () => Value | undefined) =>
    new Promise<Value>((resolve, reject) => {
      const watcher = () => {
        const value = look()
        if (value === undefined && how === undefined) return
        watchers.delete(watcher)
        if (value === undefined) reject(new Error(`The connection ended (${how}) after: ${text}`))
        else resolve(value)
      }
      watchers.add(watcher)
      watcher()
    })
  return {
    send: (more) => void socket.write(more, 'latin1'),
    end: () => void socket.end(),
    received: (pattern) => waitFor(() => pattern.exec(text) ?? undefined),
    ended: waitFor(() => (how === undefined ? undefined : { text, how })),
  }
}
