import type { Server, Socket } from 'node:net'
import type { HookContext } from '../hook.ts'
import { registerHook } from '../hooks/register-hook.ts'
import { counted, warn, warnOf } from '../log.ts'
import type { DrainOptions, Given } from '../options.ts'
import { state } from '../state.ts'
import { performance } from '../time/timers.ts'
import { within, withResolvers } from '../time/wait.ts'
import { type Unregister, unregisterBy } from '../unregister.ts'
import { reset } from './cut-requests.ts'
import { nameOf, startAfterDrain, stopAccepting, throwWhatFailed, timeOf, waitUntilDelivered } from './drain.ts'
import { drainSettings } from './drain-settings.ts'
import { holdAppClose, holdCloseEvent } from './hold-app-close.ts'
import { rememberSocketFile } from './listener/unix-socket-file.ts'
import { newPace, spreadOver } from './pace.ts'

/** A server of `node:net` or `node:tls`, for a protocol that is not known here. */
interface NetServer {
  readonly server: Server
  /** The open connections, and whether each was asked to end. */
  readonly sockets: Map<Socket, { closeAt: number | undefined }>
  options: Given<DrainOptions>
  /** From the shutdown until the end of its drain, the app's own close waits. */
  isDrained: boolean
  /** Called when a connection was made or has closed. */
  onChange: () => void
  unregister: Unregister
}

const known = new WeakMap<object, NetServer>()
/** Those that wait for their drain. */
const waiting = new Set<NetServer>()

/** Whether a value is a server of `node:net` or `node:tls`. Those of http, https and http2 are, too. */
export function isNetServer(value: unknown): value is Server {
  return value instanceof process.getBuiltinModule('node:net').Server
}

export function registerNetServer(server: Server, options: Given<DrainOptions>): void {
  const one = known.get(server) ?? track(server)
  one.options = { ...one.options, ...options }
  register(one)
}

export function unregisterNetServer(server: object): void {
  const one = known.get(server)
  if (one === undefined) return
  one.unregister()
  one.options = {}
  one.isDrained = true
}

/** The servers that wait for their drain. */
export function waitingNetServers(): readonly Pick<NetServer, 'server' | 'options'>[] {
  return [...waiting]
}

function track(server: Server): NetServer {
  const one: NetServer = {
    server,
    sockets: new Map(),
    options: {},
    isDrained: false,
    onChange: () => {},
    unregister: unregisterBy(() => {}),
  }
  known.set(server, one)
  const onSocket = (socket: Socket) => {
    one.sockets.set(socket, { closeAt: undefined })
    socket.once('close', () => {
      forget(one, socket)
      one.onChange()
    })
    one.onChange()
  }
  // With TLS another socket carries the data. The raw one closes with it.
  server.on('connection', onSocket)
  server.on('secureConnection', onSocket)
  holdAppClose(server, () => state.running !== undefined && !one.isDrained)
  rememberSocketFile(server)
  server.on('listening', () => {
    rememberSocketFile(server)
    register(one)
  })
  server.on('close', () => one.unregister())
  return one
}

function register(one: NetServer): void {
  one.unregister()
  one.isDrained = false
  const unregister = registerHook({
    name: nameOf(one.server),
    stage: 'intake',
    endsItself: true,
    hook: (context) => {
      waiting.delete(one)
      const emitClose = one.options.afterDrain === undefined ? holdCloseEvent(one.server) : () => {}
      return drain(one, context).finally(() => {
        one.isDrained = true
        emitClose()
      })
    },
  })
  waiting.add(one)
  one.unregister = unregisterBy(() => {
    waiting.delete(one)
    unregister()
  })
}

/** Connections have the time of the stage to end by themselves. With `goodbye` or `endlessMs` they have less. */
async function drain(one: NetServer, context: HookContext): Promise<void> {
  const { server, sockets } = one
  const settings = drainSettings(one.options)
  const { untilEnd, untilCut } = timeOf(settings, context)
  const [name, address] = [nameOf(server), server.address()]
  const { closed, refusing } = stopAccepting(server, untilCut)
  await refusing
  await closeSockets(one, closed, untilCut)
  const left = [...sockets.keys()]
  const carrying = left.filter((socket) => carriesData(server, socket))
  if (carrying.length > 0 && settings.goodbye === undefined) {
    warn(
      `${name} closed ${counted(carrying.length, 'connection')} when the time was up: ` +
        'let clients know with the option goodbye, or set endlessMs',
    )
  }
  for (const socket of left) {
    end(one, socket)
    socket.destroySoon()
  }
  const missed = await closed
  count('cut', missed)
  const unanswered = missed > 0 ? [`${counted(missed, 'connection')} that it had no time to accept`] : []
  const closing = startAfterDrain(settings.afterDrain, context)
  const [afterDrain] = await within(untilEnd(), Promise.allSettled([closing]), () => [])
  await waitUntilDelivered(address, settings.endlessMs, untilEnd())
  for (const socket of left) socket.destroy()
  throwWhatFailed(unanswered, afterDrain)
}

/** Says goodbye on each connection, evenly by the clock, and closes it when its time is up. Returns when all are closed or at the cut. */
async function closeSockets(one: NetServer, closed: Promise<unknown>, untilCut: () => number): Promise<void> {
  const { server, sockets } = one
  const { goodbye, endlessMs, spreadMs } = drainSettings(one.options)
  const hasEnd = goodbye !== undefined || one.options.endlessMs !== undefined || state.running?.interactive === true
  const pace = newPace(spreadOver(sockets.size, spreadMs, untilCut()), performance.now())
  let changed = withResolvers<void>()
  one.onChange = () => changed.resolve()
  const listener = { isClosed: false }
  const onClosed = () => {
    listener.isClosed = true
    one.onChange()
  }
  closed.then(onClosed, onClosed)
  while ((!listener.isClosed || sockets.size > 0) && untilCut() > 0) {
    const now = performance.now()
    let nextAt = now + untilCut()
    let left = [...sockets.values()].filter(({ closeAt }) => closeAt === undefined).length
    for (const [socket, asked] of hasEnd ? sockets : []) {
      if (asked.closeAt === undefined && !pace.takeOne(now, left)) {
        nextAt = Math.min(nextAt, pace.nextAt(now, left))
        break
      }
      if (asked.closeAt === undefined) left--
      if (asked.closeAt === undefined && carriesData(server, socket)) sayGoodbye(goodbye, socket)
      asked.closeAt ??= now + endlessMs
      if (asked.closeAt <= now) closeNow(server, socket)
      else nextAt = Math.min(nextAt, asked.closeAt)
    }
    await within(nextAt - now, changed.promise, () => {})
    changed = withResolvers()
  }
  one.onChange = () => {}
}

function sayGoodbye(goodbye: DrainOptions['goodbye'], socket: Socket): void {
  const fail = (error: unknown) => warnOf('goodbye failed', error)
  try {
    Promise.resolve(goodbye?.(socket)).catch(fail)
  } catch (error) {
    fail(error)
  }
}

/** What its client has not taken in time is not sent any more: the drain would wait again for what the kernel still holds. */
function closeNow(server: Server, socket: Socket): void {
  if (carriesData(server, socket) && socket.writableLength > 0) reset(socket)
  else socket.destroy()
}

/** The report counts a connection that was asked to end, or had to be, as `ended`. */
function forget(one: NetServer, socket: Socket): void {
  const asked = one.sockets.get(socket)
  if (!one.sockets.delete(socket) || one.isDrained || !carriesData(one.server, socket)) return
  count(asked?.closeAt === undefined ? 'drained' : 'ended', 1)
}

function end(one: NetServer, socket: Socket): void {
  const asked = one.sockets.get(socket)
  if (asked !== undefined) asked.closeAt = 0
  forget(one, socket)
}

function carriesData(server: Server, socket: Socket): boolean {
  return !('setSecureContext' in server) || 'encrypted' in socket
}

function count(how: 'drained' | 'ended' | 'cut', number: number): void {
  if (state.running !== undefined) state.running.connections[how] += number
}
