import type { Cluster } from 'node:cluster'
import type { EventEmitter } from 'node:events'
import type { Server } from 'node:net'
import { note } from '../log.ts'

/**
 * Stops new connections without losing those that are made: the kernel's queue is emptied before the listener is
 * closed, which would reset all that wait in it. Returns when the listener is closed; at the latest after `capMs`.
 */
export async function stopListening(server: Server, capMs: number): Promise<void> {
  if (!server.listening) return
  if (closeTheDoor(server)) await quietTurns(server, 3, capMs)
  // Not http.Server#close: that closes idle connections in bulk, also those with a request in the kernel's buffer.
  if (server.listening) process.getBuiltinModule('node:net').Server.prototype.close.call(server)
}

/**
 * Asks the kernel to queue no more connections. Needs `server._handle.listen` and `server._connectionKey`; where they are
 * missing the listener is closed at once. Only on Linux: 0 means SOMAXCONN on macOS, and libuv asserts on Windows.
 */
function closeTheDoor(server: Server): boolean {
  if (process.platform !== 'linux' || !ownsItsSocket(server)) return false
  const handle = (server as { _handle?: { listen?: (backlog: number) => number } })._handle
  const error = handle?.listen?.(0)
  if (error !== 0) note('servers', 'listen(0) is not possible: %o', error)
  return error === 0
}

/** A socket of a cluster, a passed handle or a file descriptor may be shared: its backlog is not ours to change. */
function ownsItsSocket(server: Server): boolean {
  const key = (server as { _connectionKey?: string })._connectionKey ?? ''
  return /^[46]:|^-1:(?!null:)/.test(key) && !isClusterWorker()
}

function isClusterWorker(): boolean {
  // Loaded only where there is a channel to a parent, as every cluster worker has.
  return process.connected && (process.getBuiltinModule('node:cluster') as unknown as Cluster).isWorker
}

/**
 * Node accepts one connection per turn of the loop, so a few turns without any mean that none waits. Not longer: behind a
 * full queue of one, connections that their clients believe in stay half made, and are reset by the close (waiting for 3 ms
 * without a connection lost one in half of all stops; three turns, in one of 25).
 */
function quietTurns(server: EventEmitter, wanted: number, capMs: number): Promise<void> {
  const until = performance.now() + capMs
  let quiet = 0
  const onConnection = () => (quiet = 0)
  server.on('connection', onConnection)
  return new Promise((resolve) => {
    const turn = () => {
      if (quiet++ < wanted && performance.now() < until) return void setImmediate(turn)
      server.off('connection', onConnection)
      resolve()
    }
    setImmediate(turn)
  })
}
