import { connect as connectTcp, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'

/** A connection on which every byte is the test's own. */
export interface Connection {
  send(text: string): void
  /** Ends its side: no more will be sent. */
  end(): void
  /** Waits for text among all that has come; rejects when the connection ends without it. */
  received(pattern: RegExp): Promise<RegExpExecArray>
  /** All that came, and how the server ended it: cleanly, or by a reset. */
  readonly ended: Promise<{ readonly text: string; readonly how: 'FIN' | 'reset' }>
}

export interface DialOptions {
  readonly tls?: boolean
  /** Does not end its side when the server has ended its own. */
  readonly stays?: boolean
  /** With TLS over a connection that is there already. */
  readonly over?: Socket
}

/** Connects to a port of this machine. Rejects with `ECONNREFUSED` where nobody listens. */
export async function dial(t: TestContext, port: number, { tls, stays, over }: DialOptions = {}): Promise<Connection> {
  const address = { port, host: '127.0.0.1', allowHalfOpen: stays === true, ...(over && { socket: over }) }
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
  /** Further ones, each with its end of line. */
  readonly headers?: string
}

/** A request, and by default all of HTTP/1.1 that it needs. */
export function requestFor(path: string, { version = '1.1', headers = '' }: RequestOptions = {}): string {
  return `GET ${path} HTTP/${version}\r\nHost: localhost\r\n${headers}\r\n`
}

/** What a browser asks for when it opens a WebSocket. */
export function upgradeFor(path: string): string {
  const headers =
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
  return requestFor(path, { headers })
}

/** Dials until it is refused; what is accepted before that is closed again. */
export async function waitUntilRefused(port: number): Promise<void> {
  let refused = false
  while (!refused) {
    const socket = connectTcp({ port, host: '127.0.0.1' })
    refused = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(false))
      socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'))
    })
    socket.destroy()
    // Dialled faster than the server accepts, its queue would overflow, and a dropped SYN is refused a second later only.
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
