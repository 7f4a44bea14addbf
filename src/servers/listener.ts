import { subscribe } from 'node:diagnostics_channel'
import type { EventEmitter } from 'node:events'
import type { Server } from 'node:net'
import { waitAtMost } from '../deadline.ts'
import { isClusterWorker } from '../environment.ts'
import { note } from '../log.ts'
import { type Native, native } from '../native.ts'

/**
 * Stops new connections without losing those that are made: the kernel's queue is emptied before the listener is closed,
 * which would reset all that wait in it. Returns when the listener is closed; at the latest after `capMs`.
 */
export async function stopListening(server: Server, capMs: number): Promise<void> {
  if (!server.listening) return
  const until = performance.now() + Math.min(capMs, 3000)
  if (isClusterWorker()) await quietTime(server, workerQuietMs, until)
  else await closeTheDoor(server, until)
  // Not http.Server#close: that closes idle connections in bulk, also those with a request in the kernel's buffer.
  if (server.listening) process.getBuiltinModule('node:net').Server.prototype.close.call(server)
}

/** From now on it is known whether a listening socket may have been handed to a child. */
export function watchForks(): void {
  if (watching) return
  watching = true
  subscribe('child_process', (message) => {
    // It is announced before it has its channel.
    process.nextTick(() => (forked ||= 'channel' in (message as { process: object }).process))
  })
}

/** Stops new connections in the kernel: false where it says no. What is made, or half made, still comes in. */
export function filterNew(part: Native, fd: number): boolean {
  const error = part.filterNew(fd) || part.enlargeQueue(fd)
  if (error !== 0) note('servers', 'no filter on a listening socket: %d', error)
  return error === 0
}

/** Waits until all that the kernel let through has come in, for so long, and at the latest until then. */
export async function untilEmpty(part: Native, fds: readonly number[], quietMs: number, until: number): Promise<void> {
  let quietSince = performance.now()
  for (;;) {
    const empty = fds.every((fd) => isEmpty(part, fd))
    const now = performance.now()
    if (!empty) quietSince = now
    if (now >= until || (empty && now - quietSince >= quietMs)) return
    // Node accepts one connection per turn of the loop. Asked in every turn for handshakes, the kernel would starve it.
    await (fds.some((fd) => part.queueLength(fd) > 0) ? turn() : waitAtMost(1, []))
  }
}

// Without a filter it may never be empty. Whoever shares the socket goes on accepting what is left.
const sharedMs = 250
// The primary still hands over what it had accepted itself.
const workerQuietMs = 100

let watching = false
let forked = false

async function closeTheDoor(server: Server, until: number): Promise<void> {
  const part = native()
  const fd = fdOf(server)
  const own = ownsItsSocket(server)
  if (part !== undefined && fd !== undefined && (!own || filterNew(part, fd))) {
    await untilEmpty(part, [fd], 0, own ? until : Math.min(until, performance.now() + sharedMs))
    if (own && forked) part.unfilter(fd) // a child that was handed the socket goes on accepting
  } else if (own && shrinkQueue(server)) {
    await quietTurns(server, 3, Math.min(until, performance.now() + 1500))
  }
}

/**
 * First the handshakes, then the queue once more: one that ends between the two looks is in the queue. Where the kernel does
 * not tell of handshakes (a sandbox without netlink), only the queue counts.
 */
function isEmpty(part: Native, fd: number): boolean {
  return part.queueLength(fd) <= 0 && part.handshakes(part.listeningPort(fd)) <= 0 && part.queueLength(fd) <= 0
}

/** Needs `server._handle.fd`: where it is missing there is no filter. A Unix socket has no handshakes. */
function fdOf(server: Server): number | undefined {
  const { fd = -1 } = (server as { _handle?: { fd?: number } })._handle ?? {}
  return fd >= 0 && typeof server.address() === 'object' ? fd : undefined
}

/**
 * Asks the kernel to queue no more connections. Needs `server._handle.listen`; where it is missing the listener is closed at
 * once. Only on Linux: 0 means SOMAXCONN on macOS, and libuv asserts on Windows.
 */
function shrinkQueue(server: Server): boolean {
  if (process.platform !== 'linux') return false
  const handle = (server as { _handle?: { listen?: (backlog: number) => number } })._handle
  const error = handle?.listen?.(0)
  if (error !== 0) note('servers', 'listen(0) is not possible: %o', error)
  return error === 0
}

/** Needs `server._connectionKey`. The socket of a passed handle or of a file descriptor may be shared: it is not ours to change. */
function ownsItsSocket(server: Server): boolean {
  const key = (server as { _connectionKey?: string })._connectionKey ?? ''
  return /^[46]:|^-1:(?!null:)/.test(key)
}

function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve))
}

/**
 * Node accepts one connection per turn of the loop, so a few turns without any mean that none waits. Not longer: behind a
 * full queue of one, connections that their clients believe in stay half made, and are reset by the close (waiting for 3 ms
 * without a connection lost one in half of all stops; three turns, in one of 25).
 */
async function quietTurns(server: EventEmitter, wanted: number, until: number): Promise<void> {
  let quiet = 0
  const onConnection = () => (quiet = 0)
  server.on('connection', onConnection)
  while (quiet++ <= wanted && performance.now() < until) await turn()
  server.off('connection', onConnection)
}

async function quietTime(server: EventEmitter, ms: number, until: number): Promise<void> {
  let last = performance.now()
  const onConnection = () => (last = performance.now())
  server.on('connection', onConnection)
  while (performance.now() < Math.min(last + ms, until)) await waitAtMost(5, [])
  server.off('connection', onConnection)
}
