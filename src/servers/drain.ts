import { waitAtMost, withResolvers } from '../deadline.ts'
import { platformName } from '../environment.ts'
import { Pid1Error } from '../errors.ts'
import { runInsideHook } from '../hooks.ts'
import { complainOf, note } from '../log.ts'
import type { DrainOptions } from '../options.ts'
import { type HookContext, state } from '../state.ts'
import {
  type Connection,
  type Connections,
  close,
  cut,
  isAnswering,
  isIdle,
  isQuiet,
  ordinaryRequests,
  type Server,
  silentMs,
  tellAll,
  tellToGo,
  watchRequests,
} from './connections.ts'
import { stopListening, untilDelivered } from './listener.ts'
import { refuse } from './refusal.ts'

/** A server that is drained at a shutdown. */
export interface DrainedServer {
  readonly server: Server
  readonly connections: Connections
  readonly options: DrainOptions
}

/** How a server is drained, with the defaults filled in. */
export type DrainSettings = Required<Omit<DrainOptions, 'afterDrain'>> & Pick<DrainOptions, 'afterDrain'>

export function drainSettings(options: DrainOptions): DrainSettings {
  if (state.running?.interactive === true)
    return { whileDraining: 'serve', ...options, lingerMs: 0, endlessMs: 0, drainDelayMs: 0 }
  const drainDelayMs = platformName() === 'kubernetes' ? 5000 : 0
  const all = { lingerMs: 1000, whileDraining: 'serve', drainDelayMs, ...state.options, ...options } as const
  return { ...all, endlessMs: all.endlessMs ?? all.lingerMs }
}

/** Drains one server without losing a request. Ends in its time by itself; rejects when requests had to be cut. */
export async function drain(drained: DrainedServer, context: HookContext): Promise<void> {
  const { server, connections, options } = drained
  const settings = drainSettings(options)
  const untilEnd = () => Math.max(0, context.remainingMs() - reactionMs)
  // Where requests have to be cut, the app's own close still has its time.
  const keptMs = settings.afterDrain === undefined ? 0 : Math.min(untilEnd() / 5, keptForCloseMs)
  const untilCut = () => Math.max(0, untilEnd() - keptMs)
  let closing: Promise<unknown> | undefined
  const startClose = () => (closing ??= startAfterDrain(settings.afterDrain))
  const unwatch = watchRequests(connections, settings.lingerMs)
  connections.onClosed = count
  const address = server.address()
  const delayMs = server.listening ? Math.min(settings.drainDelayMs, untilCut() / 2) : 0
  if (delayMs > 0) await waitAtMost(delayMs, [])
  const { refuses, closed } = stopListening(server, untilCut() - acceptedMs)
  // Who is told dials again, and must not hit the listener while it closes. But a long queue empties only when clients leave.
  if (!refuses) await waitAtMost(Math.min(tellAfterMs, untilCut()), [closed])
  tellAll(connections)
  const accept = refuse(server, settings.whileDraining === 'refuse')
  await letAllGo(connections, settings, closed, untilCut, startClose)
  const late = await cutTheRest(connections)
  const reset = await closed
  if (state.running !== undefined) state.running.connections.cut += reset
  const afterDrain = await resultWithin(untilEnd(), startClose())
  if (connections.used && typeof address === 'object' && address !== null) {
    await untilDelivered(address, settings.endlessMs, untilEnd())
  }
  // Where the process lives on, the server may listen again.
  connections.telling = false
  accept()
  unwatch()
  if (!connections.complete || connections.all.size > 0) server.closeAllConnections?.() // what nobody has told us of, too
  if (reset > 0) late.push(`${reset} connections that it had no time to accept`)
  const failed = afterDrain?.status === 'rejected'
  if (failed && late.length > 0) complainOf('afterDrain failed', afterDrain.reason)
  if (late.length > 0) throw new Pid1Error('PID1_HOOK_TIMEOUT', `did not answer in time: ${late.join(', ')}`)
  if (afterDrain === undefined) throw new Pid1Error('PID1_HOOK_TIMEOUT', 'was drained, but its afterDrain was cut')
  if (failed) throw afterDrain.reason
}

// A drain ends so much before its time is up: what it has to say then must still leave.
export const reactionMs = 10
// Connections are accepted so long before that. What the last one asks must still be read, to be answered or told.
const acceptedMs = 50
const tellAfterMs = 150
const keptForCloseMs = 10_000
// A client pool that was just told takes another idle connection for its next request.
const quietAfterRequestMs = 100
// While clients still come that think for longer than the linger, every connection has up to so many of it.
const slowClientsLingers = 4

/** Lets every connection go, each by its own rule, until none is left or the time is up. */
async function letAllGo(
  connections: Connections,
  settings: DrainSettings,
  closed: Promise<unknown>,
  untilEnd: () => number,
  startClose: () => unknown,
): Promise<void> {
  const beganAt = performance.now()
  const patienceMs = Math.min(slowClientsLingers * settings.lingerMs, untilEnd() / 2)
  const pace = newPace(beganAt)
  const empty = withResolvers<void>()
  let accepting = true
  const isOver = () => !accepting && connections.all.size === 0
  connections.onClosed = (connection) => {
    count(connection)
    if (isOver()) empty.resolve()
  }
  const onListenerClosed = () => {
    accepting = false
    if (isOver()) empty.resolve()
  }
  closed.then(onListenerClosed, onListenerClosed)
  while (untilEnd() > 0) {
    const now = performance.now()
    const allowance = pace(connections.all.size, now)
    const quietMs = Math.min(quietAfterRequestMs, settings.lingerMs)
    const isLingerOver = now - connections.lastRequestAt >= quietMs || now - beganAt >= settings.lingerMs
    const areClientsSlow = now - connections.lastLateRequestAt < settings.lingerMs && now - beganAt < patienceMs
    const { busy, idle } = lookAtAll(
      connections,
      settings,
      isLingerOver && !areClientsSlow ? allowance : { ...allowance, recent: 0, old: 0 },
      now,
    )
    if (!busy.some(isAnswering)) endEndless(busy, settings.endlessMs, now)
    if (!accepting && idle === 0 && busy.every(({ goBy }) => goBy !== undefined)) startClose()
    if (isOver()) break
    // At least one poll phase between two looks: what arrived meanwhile is seen before a connection is closed.
    await waitAtMost(Math.min(connections.all.size > 0 ? 1 : 5, untilEnd()), [empty.promise])
  }
}

/** How many connections may be closed in this turn: a few a millisecond, by the clock, never in bulk. */
interface Allowance {
  recent: number
  /** Idle for over ten seconds: hardly anybody will use them in this very moment. */
  old: number
  /** Of HTTP/2: a stream that comes now is one that may be sent again. */
  sessions: number
}

// So long a client of HTTP/2 has to answer that it has heard.
const acknowledgeMs = 500

const oldMs = 10_000

function newPace(beganAt: number): (size: number, now: number) => Allowance {
  let last = beganAt
  let largest = 0
  return (size, now) => {
    const ms = Math.min(now - last, 10) // a loop that was blocked must not make up for it in bulk
    last = now
    largest = Math.max(largest, size)
    const recent = Math.ceil(ms * Math.max(4, largest / 200))
    return {
      recent,
      sessions: recent,
      old: Math.ceil(ms * Math.max(400, largest / 5)),
    }
  }
}

/** Closes those that have been idle for long enough. Returns those on which something goes on, and how many are idle. */
function lookAtAll(
  connections: Connections,
  { lingerMs, whileDraining }: DrainSettings,
  allowance: Allowance,
  now: number,
): { busy: Connection[]; idle: number } {
  const busy = []
  for (const connection of connections.all.values()) {
    if (!isIdle(connection)) {
      if (connection.session !== undefined) closeDeaf(connection, now)
      busy.push(connection)
      continue
    }
    if (!connection.told) connection.goBy = undefined
    if (connection.session === undefined) closeIdle(connections, connection, allowance, now)
    else closeIdleSession(connection, whileDraining === 'refuse' ? 0 : lingerMs, allowance, now)
  }
  return { busy, idle: connections.all.size - busy.length }
}

/** Only one of which a whole poll phase has brought no bytes, and, as a last look, none wait in the kernel either. */
function closeIdle(connections: Connections, connection: Connection, allowance: Allowance, now: number): void {
  const { lingerMs } = connections
  const quiet = isQuiet(connection)
  const idleMs = now - connection.usedAt
  const age = idleMs >= oldMs ? 'old' : 'recent'
  if (!quiet || idleMs < lingerMs || allowance[age] <= 0) return
  const silent = silentMs(connection) ?? idleMs
  if (silent < lingerMs) return void (connection.usedAt = now - silent)
  allowance[age]--
  close(connections, connection)
}

/** A session that was told has been idle for long enough. */
function closeIdleSession(
  { session, goAwayAt, usedAt }: Connection,
  lingerMs: number,
  allowance: Allowance,
  now: number,
): void {
  if (goAwayAt !== undefined || (now - usedAt >= lingerMs && allowance.sessions-- > 0)) session?.close()
}

/** One whose client has not answered that it has heard: it gets no new streams, and ends with its last one. */
function closeDeaf({ session, goAwayAt }: Connection, now: number): void {
  if (goAwayAt !== undefined && now - goAwayAt >= acknowledgeMs) session?.close()
}

/** WebSockets, event streams, half request heads: told to go when all ordinary requests are answered, then ended. */
function endEndless(connections: readonly Connection[], endlessMs: number, now: number): void {
  for (const connection of connections) {
    tellToGo(connection)
    connection.goBy ??= now + endlessMs
    if (now < connection.goBy) continue
    connection.told = true
    connection.socket.destroy()
  }
}

function startAfterDrain(afterDrain: DrainOptions['afterDrain']): Promise<unknown> {
  const promise = runInsideHook(() => afterDrain?.())
  promise.catch(() => {}) // it is awaited when all connections are gone; until then nobody may call it unhandled
  return promise
}

/** Undefined where it has not settled by then. */
async function resultWithin(ms: number, promise: Promise<unknown>): Promise<PromiseSettledResult<unknown> | undefined> {
  let result: PromiseSettledResult<unknown> | undefined
  const settled = Promise.allSettled([promise]).then(([first]) => (result = first))
  await waitAtMost(ms, [settled])
  return result
}

/** What is still open when the time is up. Returns the ordinary requests among it. */
async function cutTheRest(connections: Connections): Promise<string[]> {
  const requests = []
  const cutting = []
  for (const connection of connections.all.values()) {
    const ordinary = ordinaryRequests(connection)
    // Without its query, which may hold secrets.
    requests.push(...ordinary.map(({ method, url }) => `${method} ${url?.split('?')[0]}`))
    if (state.running !== undefined) state.running.connections.cut += ordinary.length
    if (ordinary.length > 0) {
      cutting.push(cut(connection))
    } else {
      connection.told = true
      connection.socket.destroySoon()
    }
  }
  await Promise.all(cutting)
  return requests
}

function count({ told, cut: wasCut }: Connection): void {
  const { running } = state
  if (running === undefined || wasCut) return
  note('servers', 'a connection was %s', told ? 'ended' : 'drained')
  if (told) running.connections.ended++
  else running.connections.drained++
}
