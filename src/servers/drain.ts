import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Pid1Error } from '../errors.ts'
import type { HookContext } from '../hook.ts'
import { runInsideHook } from '../hooks/inside-hook.ts'
import { counted, listOf, warn, warnOf } from '../log.ts'
import type { DrainOptions, Given } from '../options.ts'
import { within } from '../time/wait.ts'
import { announceClose } from './announce-close.ts'
import { closeConnections, slowClientsLingers } from './close-connections.ts'
import { closeAll, type Connections, type Counts, type Server } from './connections.ts'
import { cutRemaining } from './cut-requests.ts'
import { type DrainSettings, drainSettings, lastBytesMs } from './drain-settings.ts'
import { stopListening, type Stopping } from './listener/stop-listening.ts'
import { refuseRequests } from './refuse-requests.ts'
import { isHandshake, isLongPoll } from './socket-io.ts'
import { waitForDelivery } from './wait-for-delivery.ts'
import { watchRequests } from './watch-requests.ts'

/** A server that is drained at a shutdown. */
export interface DrainedServer {
  readonly server: Server
  readonly connections: Connections
  readonly options: Given<DrainOptions>
}

/** Drains one server without losing a request. Enforces its own deadline; rejects when requests had to be cut. */
export async function drain(
  { server, connections, options }: DrainedServer,
  counts: Counts,
  context: HookContext,
): Promise<void> {
  const settings = drainSettings(options)
  const { untilEnd, untilCut } = timeOf(settings, context)
  let closedByApp: Promise<unknown> | undefined
  const closeByApp = () => (closedByApp ??= startAfterDrain(settings.afterDrain, context))
  const name = nameOf(server)
  const address = server.address()
  follow(connections, settings, counts)

  // 1. Stop new connections in the kernel. Those that are made are accepted; then the listener closes.
  const { closed, refusing } = stopAccepting(server, untilCut)
  if (refusing !== undefined) await refusing

  // 2. Announce the close on every connection.
  announceClose(connections)
  const isNewSession = (request: IncomingMessage) => isHandshake(connections.socketIo, request)
  const few = connections.socketIo.size > 0 ? isNewSession : 'none'
  const stopRefusing = refuseRequests(server, settings.whileDraining === 'refuse' ? 'all' : few)

  // 3. Close every connection when its requests are answered and it is idle, or when it was asked to end.
  await closeConnections(connections, settings, closed, untilCut, closeByApp)

  // 4. Cut what is left when the time is up.
  const unanswered = await cutRemaining(connections)
  const stalled = connections.stalled.splice(0)
  if (stalled.length > 0) {
    const requests = listOf(stalled, (request) => request)
    warn(`${name} ended requests whose clients stopped sending or reading: ${requests}`)
  }
  const reset = await closed
  counts.cut += reset
  if (reset > 0) unanswered.unshift(`${counted(reset, 'connection')} that it had no time to accept`)

  // 5. Let the app close what it has, and clients receive their answers.
  const closing = closeByApp() // before `untilEnd()`, because it may block
  const [afterDrain] = await within(untilEnd(), Promise.allSettled([closing]), () => [])
  if (connections.used) await waitUntilDelivered(address, settings.endlessMs, untilEnd())

  // Where the process lives on, the server may listen again.
  connections.closeAnnouncedAt = Infinity
  stopRefusing()
  connections.delayEndsAt = -Infinity
  connections.stopWatching?.()
  connections.isDrained = true
  if (!connections.complete || connections.all.size > 0) closeAll(connections)
  throwWhatFailed(unanswered, afterDrain)
}

/** Starts following the requests of a server, and counting its connections. */
export function follow(connections: Connections, { lingerMs, isEndless }: DrainSettings, counts: Counts): void {
  const { socketIo } = connections
  const isEndlessOrLongPoll: Connections['isEndless'] = (request) =>
    isEndless?.(request) ?? (isLongPoll(socketIo, request) ? true : undefined)
  Object.assign(connections, {
    counts,
    lingerMs,
    isEndless: socketIo.size > 0 ? isEndlessOrLongPoll : isEndless,
  } satisfies Partial<Connections>)
  watchRequests(connections)
}

export function nameOf(server: Server): string {
  const address = server.address()
  if (address === null) return 'the server'
  return typeof address === 'string' ? `the server on ${address}` : `the server on port ${address.port}`
}

interface DrainTime {
  /** Until the drain must be over. */
  readonly untilEnd: () => number
  /** Until what is left is cut: even then, the app's own close still has its time. */
  readonly untilCut: () => number
}

/** The time of a drain, in milliseconds that are left. */
export function timeOf({ afterDrain }: DrainSettings, context: HookContext): DrainTime {
  const untilEnd = () => Math.max(0, context.remainingMs() - lastBytesMs)
  const keptMs = afterDrain === undefined ? 0 : Math.min(untilEnd() / 5, keptForAfterDrainMs)
  return { untilEnd, untilCut: () => Math.max(0, untilEnd() - keptMs) }
}

interface StoppingAccept extends Pick<Stopping, 'closed'> {
  /**
   * Resolves when new connections are refused, undefined if they are already: a client that is asked to go connects again, and must not hit
   * the listener while it closes. But a long queue empties only when clients close their connections.
   */
  readonly refusing: Promise<unknown> | undefined
}

/** Stops new connections. */
export function stopAccepting(server: Server, untilCut: () => number): StoppingAccept {
  const { refuses, closed } = stopListening(server, untilCut() - readMs)
  const refusing = refuses ? undefined : within(Math.min(longestCloseMs, untilCut()), closed, () => {})
  return { closed, refusing }
}

export function startAfterDrain(afterDrain: DrainOptions['afterDrain'], context: HookContext): Promise<unknown> {
  const promise = runInsideHook(() => afterDrain?.(context))
  promise.catch(() => {}) // it is awaited when all connections are closed; until then it must not count as unhandled
  return promise
}

export async function waitUntilDelivered(
  address: AddressInfo | string | null,
  endlessMs: number,
  ms: number,
): Promise<void> {
  if (typeof address !== 'object' || address === null) return
  await waitForDelivery(address, endlessMs, Math.min(slowClientsLingers * endlessMs, ms))
}

export function throwWhatFailed(
  unanswered: readonly string[],
  afterDrain: PromiseSettledResult<unknown> | undefined,
): void {
  const failed = afterDrain?.status === 'rejected'
  if (failed && unanswered.length > 0) warnOf('afterDrain failed', afterDrain.reason)
  if (unanswered.length > 0)
    throw new Pid1Error('PID1_HOOK_TIMEOUT', `did not answer in time: ${listOf(unanswered, (text) => text)}`)
  if (afterDrain === undefined) throw new Pid1Error('PID1_HOOK_TIMEOUT', 'was drained, but its afterDrain was cut')
  if (failed) throw afterDrain.reason
}

// The listener is closed this long before the end, so that what the last accepted connection asks is still read, and answered or named.
const readMs = 50
// The close is announced this late at the latest.
const longestCloseMs = 150
const keptForAfterDrainMs = 10_000
