import { performance } from '../time/timers.ts'
import { acceptNoMoreRequests } from './announce-close.ts'
import { type Connection, hasUnread, idleMsInKernel, isIdle } from './connection.ts'
import { close, type Connections, isPassedOn } from './connections.ts'
import { endStalled, reset } from './cut-requests.ts'
import type { DrainSettings } from './drain-settings.ts'
import { endLongLived } from './end-long-lived.ts'
import { endStreamingCalls } from './grpc.ts'
import { hasUnanswered, openStreams, waitsForClient } from './http2-streams.ts'
import { hasOrdinaryRequests } from './ordinary-requests.ts'
import { newPace, type Pace, spreadOver } from './pace.ts'
import { newAllowances, newScanTimer, postponeUntil, type Scan, takeAllowance } from './scan.ts'
import { stalledMs } from './stalled-requests.ts'

/**
 * Scans the connections until none is left or the time is up, and closes each by the rule of its kind. Calls `onOnlyLongLived` when the
 * listener is closed and only connections are left that were asked to end.
 */
export async function closeConnections(
  connections: Connections,
  settings: DrainSettings,
  listenerClosed: Promise<unknown>,
  untilCut: () => number,
  onOnlyLongLived: () => unknown,
): Promise<void> {
  const { lingerMs, endlessMs } = settings
  const beganAt = performance.now()
  const cutAt = beganAt + untilCut()
  const longestLingerMs = Math.min(slowClientsLingers * lingerMs, untilCut() / 2)
  const nextAllowance = newAllowances(beganAt)
  const timer = newScanTimer()
  const telling: Telling = { ...settings, wholeMs: cutAt - beganAt, pace: undefined }
  let isAccepting = true
  const isOver = () => !isAccepting && connections.all.size === 0
  // A scan of ten thousand connections takes some milliseconds, so that there may be fewer of them.
  const soonMs = () => Math.max(1, connections.all.size / 1000)
  connections.onChange = () => (isOver() ? timer.scanNow() : timer.scanSoon(soonMs()))
  const onListenerClosed = () => {
    isAccepting = false
    connections.onChange()
  }
  listenerClosed.then(onListenerClosed, onListenerClosed)
  let nextAt = beganAt
  while (!isOver() && untilCut() > 0) {
    const sleepsUntil = Math.min(nextAt, cutAt)
    const asOf = await timer.wait(sleepsUntil)
    const scan = {
      asOf,
      nextAt: Infinity,
      mayCloseAt: mayCloseAt(connections, lingerMs, beganAt, longestLingerMs),
      endLongLivedBy: cutAt - Math.min(endlessMs + spreadFor(connections.all.size, telling), (cutAt - beganAt) / 2),
      allowance: nextAllowance(connections.all.size, asOf, sleepsUntil),
    }
    const busy = closeIdleConnections(connections, settings, scan)
    const idle = connections.all.size - busy.length
    for (const connection of busy) {
      limitPipeline(connections, connection, scan)
      limitStall(connections, connection, beganAt, scan)
    }
    closeLongLived(connections, busy, telling, scan)
    if (!isAccepting && idle === 0 && busy.every(({ closeBy }) => closeBy !== undefined)) onOnlyLongLived()
    nextAt = scan.nextAt
  }
  connections.onChange = () => {}
}

/**
 * When idle connections may be closed: a moment after the last request. Later while clients are slow, which means that requests still
 * arrive on connections that were idle for `lingerMs`.
 */
function mayCloseAt(connections: Connections, lingerMs: number, beganAt: number, longestLingerMs: number): number {
  const isLingerOverAt = Math.min(
    connections.lastRequestAt + Math.min(pauseAfterRequestMs, lingerMs),
    beganAt + lingerMs,
  )
  const areClientsSlowUntil = Math.min(connections.lastLateRequestAt + lingerMs, beganAt + longestLingerMs)
  return Math.max(isLingerOverAt, areClientsSlowUntil)
}

/** Closes the connections that have been idle for long enough. Returns the busy ones. */
function closeIdleConnections(connections: Connections, settings: DrainSettings, scan: Scan): Connection[] {
  const { lingerMs, keepsIdle, whileDraining } = settings
  const busy = []
  for (const connection of connections.all.values()) {
    if (isPassedOn(connection)) {
      connections.all.delete(connection.socket)
      continue
    }
    if (!isIdle(connection)) {
      if (connection.session !== undefined) closeUnresponsiveSession(connection, scan)
      busy.push(connection)
      continue
    }
    if (!connection.countsAsEnded) connection.closeBy = undefined
    if (keepsIdle && connection.goawaySentAt === undefined) continue
    if (connection.session === undefined) closeIdle(connections, connection, scan)
    else closeIdleSession(connection, whileDraining === 'refuse' ? 0 : lingerMs, scan)
  }
  return busy
}

/** Closes an idle connection, but only if no bytes had arrived on it before this scan, and the kernel, which is asked last, holds none. */
function closeIdle(connections: Connections, connection: Connection, scan: Scan): void {
  const { lingerMs } = connections
  if (postponeUntil(scan, Math.max(connection.usedAt + lingerMs, scan.mayCloseAt))) return
  const unusedMs = scan.asOf - connection.usedAt
  if (!takeAllowance(scan, unusedMs >= longIdleMs ? 'longIdle' : 'recentlyUsed')) return
  const idleMs = idleMsInKernel(connection) ?? unusedMs
  if (idleMs >= lingerMs) return close(connections, connection)
  // Bytes arrive that make no request: TCP's urgent data, or a TLS record that is never complete. They keep the connection open, but not
  // without limit.
  connection.restlessSince ??= connection.usedAt
  connection.usedAt = performance.now() - idleMs
  connection.countsAsEnded = scan.asOf - connection.restlessSince >= slowClientsLingers * lingerMs
  if (connection.countsAsEnded) close(connections, connection)
  else postponeUntil(scan, connection.usedAt + lingerMs)
}

/** Closes an idle session that was sent GOAWAY (it may read no more, see http2-goaway.ts), or that has been idle for long enough. */
function closeIdleSession(connection: Connection, lingerMs: number, scan: Scan): void {
  const { session, goawaySentAt, usedAt } = connection
  if (goawaySentAt === undefined) {
    if (postponeUntil(scan, Math.max(usedAt + lingerMs, scan.mayCloseAt)) || !takeAllowance(scan, 'sessions')) return
    if (hasUnread(connection)) return void (scan.nextAt = scan.asOf)
  }
  session?.close()
  // Node waits for the client, which may never close its side.
  if (session !== undefined && waitsForClient(session)) postponeUntil(scan, scan.asOf + clientSideMs)
}

/** Closes a session whose client has not acknowledged GOAWAY in time: it gets no new streams, and ends with its last stream. */
function closeUnresponsiveSession({ session, goawaySentAt }: Connection, scan: Scan): void {
  if (goawaySentAt === undefined || session === undefined || session.closed) return
  if (!postponeUntil(scan, goawaySentAt + acknowledgeMs)) session.close()
}

/**
 * A client that always has several requests under way is not told to close, because the answer that says close must be the last one.
 * When the linger is over, the last request that has arrived by then gets that answer.
 */
function limitPipeline(connections: Connections, connection: Connection, scan: Scan): void {
  if (connection.responses.length <= 1) return
  if (!postponeUntil(scan, connections.closeAnnouncedAt + connections.lingerMs)) acceptNoMoreRequests(connection)
}

/** Ends requests with which the client does not continue: it sends no more of a body, or takes no more of an answer. */
function limitStall(connections: Connections, connection: Connection, beganAt: number, scan: Scan): void {
  if (!hasOrdinaryRequests(connection) || postponeUntil(scan, connection.checkStalledAt)) return
  const longestMs = Math.max(slowClientsLingers * connections.lingerMs, leastStalledMs)
  const stalledForMs = Math.min(stalledMs(connection, scan.asOf), scan.asOf - beganAt)
  if (stalledForMs >= longestMs) return void endStalled(connections, connection)
  connection.checkStalledAt = scan.asOf + Math.max(longestMs - stalledForMs, longestMs / 4)
  postponeUntil(scan, connection.checkStalledAt)
}

/** How the long-lived connections of a server are asked to end. */
interface Telling extends Pick<DrainSettings, 'endlessMs' | 'spreadMs' | 'closeCode'> {
  /** The time of the drain. */
  readonly wholeMs: number
  /** Undefined until the first one is asked. */
  pace: Pace | undefined
}

function spreadFor(count: number, { spreadMs, wholeMs }: Telling): number {
  return spreadOver(count, spreadMs, wholeMs)
}

/**
 * Ends WebSockets, event streams and connections with a part of a request head. They are asked to end when all ordinary requests are
 * answered, or when only their own time is left, evenly over `spreadMs`. Each is closed `endlessMs` later.
 */
function closeLongLived(connections: Connections, busy: readonly Connection[], telling: Telling, scan: Scan): void {
  const { endlessMs, closeCode } = telling
  // Node emits no event when the answer to a stream begins, and an event stream that has begun is not an ordinary request any more.
  if (busy.some(({ session }) => session !== undefined && hasUnanswered(session))) {
    postponeUntil(scan, scan.asOf + unansweredMs)
  }
  // Once the first ones are asked, a further request does not change the pace of the others.
  if (telling.pace === undefined && busy.some(hasOrdinaryRequests) && postponeUntil(scan, scan.endLongLivedBy)) return
  if (busy.length > 0) telling.pace ??= newPace(spreadFor(busy.length, telling), scan.asOf)
  let left = busy.filter((connection) => connection.closeBy === undefined && !hasOrdinaryRequests(connection)).length
  for (const connection of busy) {
    if (hasOrdinaryRequests(connection)) {
      if (connection.session !== undefined) endLongLived(connections, connection, closeCode)
      continue
    }
    if (connection.closeBy === undefined) {
      if (telling.pace?.takeOne(scan.asOf, left) === false) {
        postponeUntil(scan, telling.pace.nextAt(scan.asOf, left))
        continue
      }
      left--
    }
    endLongLived(connections, connection, closeCode)
    connection.closeBy ??= scan.asOf + endlessMs
    if (postponeUntil(scan, connection.closeBy)) continue
    if (connection.session !== undefined && endStreamingCalls(openStreams(connection.session))) {
      connection.closeBy = scan.asOf + statusMs
      postponeUntil(scan, connection.closeBy)
      continue
    }
    connection.countsAsEnded ||= connection.session === undefined || !waitsForClient(connection.session)
    // A client that has not taken everything in time is reset: otherwise the drain would wait again, for what the kernel still holds.
    if (connection.socket.writableLength > 0) reset(connection.socket)
    else connection.socket.destroy()
  }
}

/** While there are slow clients, every connection may linger up to this many times as long. */
export const slowClientsLingers = 4

// A client pool that has just closed a connection takes another idle one for its next request.
const pauseAfterRequestMs = 100

// How long an HTTP/2 client has to acknowledge the GOAWAY.
const acknowledgeMs = 500

// How soon a closed session is scanned again, to see whether its client has closed its side too.
const clientSideMs = 100

// How soon a stream whose answer has not begun is checked again.
const unansweredMs = 250

// A client hardly uses a connection at the very moment at which it has been idle for this long.
const longIdleMs = 10_000

// How long the status of a call that was ended has to reach its client.
const statusMs = 100

// With a short linger a client whose packets were lost still has time to send them again.
const leastStalledMs = 1000
