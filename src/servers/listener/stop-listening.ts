import type { EventEmitter } from 'node:events'
import type { Server } from 'node:net'
import { debug } from '../../log.ts'
import { native } from '../../native.ts'
import { isOpenElsewhere } from '../../platform/processes.ts'
import { isClusterWorker } from '../../platform/this-process.ts'
import { performance } from '../../time/timers.ts'
import { nextTurn, pause } from '../../time/wait.ts'
import { fdOf } from '../../platform/private-fields.ts'
import { countWaiting, untilAcceptQueueIsEmpty } from './accept-queue.ts'
import { refuseNewConnections } from './refuse-new-connections.ts'
import { closeKeepingSuccessor } from './unix-socket-file.ts'

export interface Stopping {
  /** Whether the kernel refuses new connections from now on. */
  readonly refuses: boolean
  /** Resolves when the listener is closed, with the number of connections that still waited then, and were reset. */
  readonly closed: Promise<number>
}

/** Servers that their drain has closed, and whether 'close' was emitted since. */
export const closedByDrain: WeakMap<Server, { emitted: boolean }> = new WeakMap()

/**
 * Stops new connections without losing those that are made. The kernel's queue is emptied before the listener is closed, which would
 * reset all connections in it. The listener is closed after `capMs` at the latest.
 */
export function stopListening(server: Server, capMs: number): Stopping {
  // A cluster worker may get its connections from its primary, and listen on nothing.
  if (!server.listening && !isClusterWorker()) return { refuses: true, closed: Promise.resolve(0) }
  const { refuses, emptied, countLeft } = isClusterWorker()
    ? { refuses: false, emptied: untilNoneArrive(server, 20, 5, Math.min(capMs, workerCapMs)), countLeft: () => 0 }
    : stopInKernel(server, capMs)
  const closeAndCount = () => {
    const left = countLeft()
    close(server)
    return left
  }
  return { refuses, closed: emptied.then(closeAndCount) }
}

interface StoppingInKernel {
  readonly refuses: boolean
  readonly emptied: Promise<void>
  /** Counts the connections that the close resets, as far as the kernel can be asked. */
  readonly countLeft: () => number
}

function stopInKernel(server: Server, capMs: number): StoppingInKernel {
  const part = native()
  // A Unix socket has no handshakes.
  const fd = typeof server.address() === 'object' ? fdOf(server) : -1
  const isShared = !ownsItsSocket(server) || (fd >= 0 && isOpenElsewhere(fd))
  const stops = part !== undefined && fd >= 0 && !isShared ? refuseNewConnections(part, fd) : 'no'
  if (part !== undefined && fd >= 0 && (isShared || stops !== 'no')) {
    const emptied = untilAcceptQueueIsEmpty(part, [fd], 0, isShared ? Math.min(capMs, sharedMs) : capMs)
    // Connections that wait in a shared socket are not lost when this process closes it.
    return { refuses: stops === 'refuses', emptied, countLeft: () => (isShared ? 0 : countWaiting(part, fd)) }
  }
  const emptied =
    !isShared && shrinkQueue(server) ? untilNoneArrive(server, 4, 0, Math.min(capMs, blindMs)) : Promise.resolve()
  return { refuses: false, emptied, countLeft: () => 0 }
}

/**
 * Closes the listener by http's own `close`, which also stops http's timer: that would keep the server alive for ever. For http2 by net's,
 * because http2's own would end all sessions at once. http's `close` also calls `closeIdleConnections`, which does nothing now (see
 * hold-app-close.ts): it would close idle connections in bulk, even those with a request in the kernel's buffer.
 */
function close(server: Server): void {
  if (!server.listening) return
  const closed = { emitted: false }
  closedByDrain.set(server, closed)
  server.once('close', () => (closed.emitted = true))
  const home = process.getBuiltinModule('closeIdleConnections' in server ? 'node:http' : 'node:net') as Home
  closeKeepingSuccessor(server, () => home.Server.prototype.close.call(server))
}

interface Home {
  Server: { prototype: Server }
}

/**
 * Asks the kernel to queue no more connections. Needs `server._handle.listen`; where it is missing the listener is closed at
 * once. Only on Linux: 0 means SOMAXCONN on macOS, and libuv asserts on Windows.
 */
function shrinkQueue(server: Server): boolean {
  if (process.platform !== 'linux') return false
  const handle = (server as { _handle?: { listen?: (backlog: number) => number } })._handle
  const error = handle?.listen?.(0)
  if (error !== 0) debug('servers', 'listen(0) is not possible: %o', error)
  return error === 0
}

/**
 * Whether the server made its socket itself. The socket of a passed handle or of a file descriptor may be shared, and must not be
 * changed. Needs `server._connectionKey`; where it is missing every socket counts as shared.
 */
function ownsItsSocket(server: Server): boolean {
  const key = (server as { _connectionKey?: string })._connectionKey ?? ''
  return /^[46]:|^-1:(?!null:)/.test(key)
}

/**
 * Waits for this number of turns of the loop, each of `turnMs`, without a connection. A cluster worker gets its connections from its
 * primary one at a time, each when it has taken the one before, so a busy loop must wait for longer.
 *
 * Otherwise Node accepts one per turn, so a few turns without a connection mean that none waits. It must not wait for longer: the queue
 * then has room for one, and while it is full other connections stay half made, although their clients take them for made. The close
 * resets these. (Waiting for 3 ms without a connection lost one in half of all stops; waiting for a few turns, in one of 25.)
 */
async function untilNoneArrive(server: EventEmitter, wanted: number, turnMs: number, capMs: number): Promise<void> {
  const until = performance.now() + capMs
  let without = 0
  const onConnection = () => (without = 0)
  server.on('connection', onConnection)
  while (without++ < wanted && performance.now() < until) await (turnMs === 0 ? nextTurn() : pause(turnMs))
  server.off('connection', onConnection)
}

// The longest wait where the kernel cannot be asked whether any connection is left.
const blindMs = 1500
// A socket on which new connections still arrive may never be empty. The processes that share it accept what is left.
const sharedMs = 250
// The primary still passes on what it had accepted itself, and goes on doing so for a worker that is stopped alone.
const workerCapMs = 3000
