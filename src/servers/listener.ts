import type { EventEmitter } from 'node:events'
import type { AddressInfo, Server } from 'node:net'
import { waitAtMost } from '../deadline.ts'
import { isClusterWorker } from '../environment.ts'
import { note } from '../log.ts'
import { type Native, native } from '../native.ts'
import { isOpenElsewhere } from '../processes.ts'

/** How the end of a listener goes. */
export interface Stopping {
  /** Whether the kernel refuses new connections by now. */
  readonly refuses: boolean
  /** How many connections waited even then, and were reset. */
  readonly closed: Promise<number>
}

/**
 * Stops new connections without losing those that are made: the kernel's queue is emptied before the listener is closed,
 * which would reset all that wait in it. It is closed at the latest after `capMs`.
 */
export function stopListening(server: Server, capMs: number): Stopping {
  if (!server.listening) return { refuses: true, closed: Promise.resolve(0) }
  const { refuses, emptied, countLeft } = isClusterWorker()
    ? { refuses: false, emptied: quietTurns(server, 20, 5, Math.min(capMs, workerCapMs)), countLeft: () => 0 }
    : closeTheDoor(server, capMs)
  const closeAndCount = () => {
    const left = countLeft()
    close(server)
    return left
  }
  return { refuses, closed: emptied.then(closeAndCount) }
}

/**
 * Stops new connections in the kernel, where it can; what is made, or half made, still comes in. It cannot be undone, so never
 * on a socket that others accept from as well.
 */
export function stopNew(part: Native, fd: number): 'refuses' | 'drops' | 'no' {
  const [length, limit] = [part.queueLength(fd), part.queueLimit(fd)]
  // It would not tell when everything has come in: a sandbox that only looks like Linux, or an emulator.
  if (limit <= 0) return 'no'
  // Beyond its limits the kernel remembers nothing of a connection that is half made (SYN cookies): then only a filter lets
  // its end come in. Otherwise who dials is better refused, which a client hears at once.
  const crowded = length > 0 && (length >= limit || part.handshakes(fd) >= limit / 2)
  const drops = crowded && part.dropNew(fd) === 0
  const refuses = !drops && part.refuseNew(fd) === 0
  if (!drops && !refuses && part.dropNew(fd) !== 0) {
    note('servers', 'the kernel does not stop new connections for us')
    return 'no'
  }
  part.enlargeQueue(fd)
  return refuses ? 'refuses' : 'drops'
}

/**
 * Waits until all that the kernel has let through has come in, and nothing more has for `quietMs`. What waits in the queue is
 * known to be there, and would be lost; a handshake may never end, so for those only a part of the time is waited. That begins
 * when the queue is empty: who found it full sends its last word again.
 */
export async function untilEmpty(part: Native, fds: readonly number[], quietMs: number, capMs: number): Promise<void> {
  const until = performance.now() + capMs
  const handshakesMs = Math.min(capMs / 4, 3000)
  const isQueueFilled = () => fds.some((fd) => part.queueLength(fd) > 0)
  let quietSince = performance.now()
  let emptySince = quietSince
  for (;;) {
    const now = performance.now()
    const filled = isQueueFilled()
    if (filled) emptySince = now
    if (now >= until || now - emptySince >= handshakesMs) return
    // First the handshakes, then the queue once more: one that ends between the two looks is in the queue. Where the kernel
    // does not tell of handshakes (a sandbox without netlink), only the queue counts.
    if (filled || fds.some((fd) => part.handshakes(fd) > 0) || isQueueFilled()) quietSince = now
    else if (now - quietSince >= quietMs) return
    // Node accepts one connection per turn of the loop. Asked in every turn for handshakes, the kernel would starve it.
    await (filled ? turn() : waitAtMost(1, []))
  }
}

/**
 * During a shutdown the app's own `close()` (a handler of its own for SIGTERM, a hook, `listen({ signal: shutdownSignal() })`, a
 * framework's) only waits for the drain: it would reset all that waits to be accepted, and close idle connections in bulk.
 */
export function holdClose(server: Server & { closeIdleConnections?: () => void }, isHeld: () => boolean): void {
  const closeNow = server.close.bind(server)
  server.close = (callback?: (error?: Error) => void) => {
    if (!isHeld() || !server.listening) return closeNow(callback)
    if (callback !== undefined) server.once('close', callback)
    return server
  }
  const closeIdleNow = server.closeIdleConnections?.bind(server)
  if (closeIdleNow !== undefined) server.closeIdleConnections = () => void (isHeld() || closeIdleNow())
}

/**
 * Waits until clients have what was sent to them on connections that are closed here: when PID 1 ends, its network may end
 * with it. Only while it becomes less: those who take nothing for `patienceMs` are not waited for.
 */
export async function untilDelivered({ port, family }: AddressInfo, patienceMs: number, capMs: number): Promise<void> {
  const until = performance.now() + capMs
  let least = Infinity
  let since = 0
  for (;;) {
    const now = performance.now()
    const bytes = native()?.undelivered(port, family === 'IPv6' ? 6 : 4) ?? 0
    if (bytes < least) {
      least = bytes
      since = now
    }
    if (bytes <= 0 || now >= until || now - since >= patienceMs) return
    await waitAtMost(deliveryMs, [])
  }
}

// To ask costs the kernel a look at all its sockets.
const deliveryMs = 5
// Where the kernel does not tell whether anything is left.
const blindMs = 1500
// A socket on which new connections still come may never be empty. Whoever shares it goes on accepting what is left.
const sharedMs = 250
// The primary still hands over what it had accepted itself; to one that is stopped alone it does so without end.
const workerCapMs = 3000

interface Door {
  readonly refuses: boolean
  readonly emptied: Promise<void>
  /** How many connections the close resets, as far as the kernel tells. */
  readonly countLeft: () => number
}

function closeTheDoor(server: Server, capMs: number): Door {
  const part = native()
  const fd = fdOf(server)
  const shared = !ownsItsSocket(server) || (fd !== undefined && isOpenElsewhere(fd))
  const stops = part !== undefined && fd !== undefined && !shared ? stopNew(part, fd) : 'no'
  if (part !== undefined && fd !== undefined && (shared || stops !== 'no')) {
    const emptied = untilEmpty(part, [fd], 0, shared ? Math.min(capMs, sharedMs) : capMs)
    // What waits in a shared one is not lost with us.
    return { refuses: stops === 'refuses', emptied, countLeft: () => (shared ? 0 : countWaiting(part, fd)) }
  }
  const emptied =
    !shared && shrinkQueue(server) ? quietTurns(server, 4, 0, Math.min(capMs, blindMs)) : Promise.resolve()
  return { refuses: false, emptied, countLeft: () => 0 }
}

/** In the queue, and behind one that is still filled: where it is empty, half made ones have had their time. */
function countWaiting(part: Native, fd: number): number {
  const queued = part.queueLength(fd)
  return queued > 0 ? queued + Math.max(0, part.handshakes(fd)) : 0
}

/** Not by http.Server#close: that closes idle connections in bulk, also those with a request in the kernel's buffer. */
function close(server: Server): void {
  if (server.listening) process.getBuiltinModule('node:net').Server.prototype.close.call(server)
}

/** Needs `server._handle.fd`: where it is missing the kernel cannot be asked. A Unix socket has no handshakes. */
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
 * Waits for so many turns of the loop, each of so many milliseconds, without a connection. In a worker of a cluster they come
 * from its primary one at a time, each when the one before was taken, so that a busy loop must wait for longer.
 *
 * Otherwise Node accepts one per turn, so a few turns without any mean that none waits. Not more: behind a full queue of one,
 * connections that their clients believe in stay half made, and are reset by the close (waiting for 3 ms without a connection
 * lost one in half of all stops; a few turns, in one of 25).
 */
async function quietTurns(server: EventEmitter, wanted: number, turnMs: number, capMs: number): Promise<void> {
  const until = performance.now() + capMs
  let quiet = 0
  const onConnection = () => (quiet = 0)
  server.on('connection', onConnection)
  while (quiet++ < wanted && performance.now() < until) await (turnMs === 0 ? turn() : waitAtMost(turnMs, []))
  server.off('connection', onConnection)
}
