import { subscribe } from 'node:diagnostics_channel'
import type { HookContext } from '../hook.ts'
import { runInsideHook } from '../hooks/inside-hook.ts'
import { registerHook } from '../hooks/register-hook.ts'
import type { DrainOptions, Given } from '../options.ts'
import { state } from '../state.ts'
import { type Resolvable, withResolvers } from '../time/wait.ts'
import { type Unregister, unregisterBy } from '../unregister.ts'
import { type GrpcServer, http2ServersOf, watchCalls } from './grpc.ts'
import { looksLikeLongPoll, type SocketIoServer } from './socket-io.ts'
import { type Connections, type Counts, isServer, type Server, trackConnections } from './connections.ts'
import { drain, type DrainedServer, nameOf } from './drain.ts'
import { holdAppClose, holdCloseEvent } from './hold-app-close.ts'
import { rememberSocketFile } from './listener/unix-socket-file.ts'
import { watchUpgrades } from './websockets.ts'

/** A server that is registered twice is drained once, with the options of both. */
const registered = new WeakMap<object, Registered>()
/** The request handlers of registered servers. */
const handlers = new WeakMap<object, WeakRef<Registered>>()
/** The servers that wait for their drain. */
const waiting = new Set<Registered>()
/** gRPC servers, whose http2 servers are further servers of one app. */
const grpcServers = new Map<GrpcServer, App>()
let isWatchingListeners = false
/** Called when a server begins to listen that is not registered. Undefined where such servers are left alone. */
let onUnknownServer: (() => void) | undefined
/** The framework of a server, which is closed after the drain. */
const ownersOf = new WeakMap<object, { close(): unknown }>()

interface Registered {
  readonly server: Server
  readonly connections: Connections
  /** Undefined where the server is not registered any more. */
  app: App | undefined
  /** Registered only as another server of an app. */
  isFurther: boolean
  unregister: Unregister
}

/** The servers that listen with one handler are drained as one: Fastify's `localhost` is two addresses, each with a server. */
interface App {
  options: Given<DrainOptions>
  /** What is closed after `afterDrain`. */
  readonly closers: Set<{ close(): unknown }>
  /** Servers that listen and were not registered themselves. */
  readonly further: Set<Registered>
  /** Servers whose drain is in progress, and whether each has answered its requests. */
  readonly draining: Map<Registered, boolean>
  /** The result of afterDrain, which is called when all servers have answered their requests. */
  afterDrain: Resolvable<unknown>
  /** afterDrain was called: a server that begins to listen after that does not call it again. */
  isAfterDrainCalled: boolean
}

/** A Socket.IO server is closed when its http server is drained: its adapter lets the other instances know. */
export function registerSocketIoServer(io: SocketIoServer, httpServer: Server, options: Given<DrainOptions>): void {
  registerServer(httpServer, options)
  const known = registered.get(httpServer)
  known?.connections.socketIo.add(io)
  known?.app?.closers.add(io)
}

/** The addresses of a gRPC server are drained as one, also those that it is bound to later. */
export function registerGrpcServer(grpc: GrpcServer, options: Given<DrainOptions>): void {
  const app = grpcServers.get(grpc) ?? newApp({})
  app.options = { ...app.options, ...options }
  grpcServers.set(grpc, app)
  for (const server of http2ServersOf(grpc) ?? []) trackGrpc(grpc, server)
  for (const one of app.further) register(one)
  watchListeners()
}

export function unregisterGrpcServer(grpc: GrpcServer): void {
  for (const one of grpcServers.get(grpc)?.further ?? []) unregisterServer(one.server)
  grpcServers.delete(grpc)
}

function trackGrpc(grpc: GrpcServer, server: Server): void {
  const app = grpcServers.get(grpc)
  const known = registered.get(server)
  if (app === undefined || known?.app === app) return
  if (known === undefined) {
    track(server, app, true)
    watchCalls(grpc, server)
  } else {
    known.app = app
    register(known)
  }
}

export function registerServer(server: Server, options: Given<DrainOptions>): void {
  const known = registered.get(server)
  if (known === undefined) return track(server, newApp(options), false)
  // A further server that is now registered itself has options of its own.
  if (known.app === undefined || known.isFurther) known.app = newApp(options)
  else known.app.options = { ...known.app.options, ...options }
  known.app.further.delete(known)
  known.isFurther = false
  register(known)
}

/**
 * For `pid1/register`: drains every http, https and http2 server that begins to listen. Fastify publishes its instances on a diagnostics
 * channel; each is closed after the drain of its server. `onServer` is called before a server is registered.
 */
export function drainEveryServer(onServer: () => void): void {
  onUnknownServer = onServer
  watchListeners()
  subscribe('fastify.initialization', (message) => {
    const { fastify } = message as { fastify: { readonly server: object; close(): unknown } }
    ownersOf.set(fastify.server, fastify)
  })
}

function trackUnknown(server: Server): void {
  if (onUnknownServer === undefined) return
  onUnknownServer()
  const app = newApp({ isEndless: (request) => looksLikeLongPoll(request) || undefined })
  const owner = ownersOf.get(server)
  if (owner !== undefined) app.closers.add({ close: () => owner.close() })
  track(server, app, false)
}

/** Unregisters a server and the further servers of its app. */
export function unregisterServer(server: object): void {
  const known = registered.get(server)
  if (known === undefined) return
  const further = known.isFurther ? [] : [...(known.app?.further ?? [])]
  for (const one of [known, ...further]) {
    one.unregister()
    one.app = undefined
  }
}

/** The servers that wait for their drain, with the options of their apps. */
export function registeredServers(): DrainedServer[] {
  return [...waiting].map(({ server, connections, app }) => ({ server, connections, options: app?.options ?? {} }))
}

/** The counters of the report. If no shutdown is in progress, counters that nobody reads. */
export function countsOfReport(): Counts {
  return state.running?.connections ?? { drained: 0, ended: 0, cut: 0 }
}

function newApp(options: Given<DrainOptions>): App {
  return {
    options,
    closers: new Set(),
    further: new Set(),
    draining: new Map(),
    afterDrain: withResolvers(),
    isAfterDrainCalled: false,
  }
}

function track(server: Server, app: App, isFurther: boolean): void {
  const connections = trackConnections(server)
  const known: Registered = { server, app, isFurther, connections, unregister: unregisterBy(() => {}) }
  registered.set(server, known)
  watchUpgrades(server)
  // Held from the start of the shutdown, because hooks and listeners of shutdownSignal() may run before the drain.
  holdAppClose(server, () => state.running !== undefined && known.app !== undefined && !connections.isDrained)
  register(known)
  watchFurtherServers(known)
  rememberSocketFile(server)
  // A server that begins to listen during a shutdown is drained too. One that closes by itself is not drained any more.
  server.on('listening', () => {
    rememberSocketFile(server)
    register(known)
  })
  server.on('close', () => {
    known.unregister()
    known.app?.further.delete(known)
  })
}

function register(known: Registered): void {
  const { app } = known
  known.unregister()
  if (app === undefined) return
  known.connections.isDrained = false
  if (known.isFurther) app.further.add(known)
  const unregister = registerHook({
    name: nameOf(known.server),
    hook: (context) => {
      waiting.delete(known)
      return drainAndEmitClose(known, app, context)
    },
    stage: 'intake',
    endsItself: true,
  })
  waiting.add(known)
  known.unregister = unregisterBy(() => {
    waiting.delete(known)
    unregister()
  })
}

/** The app gets 'close' when the drain is over. With an afterDrain it gets 'close' at once, because afterDrain may wait for that event. */
function drainAndEmitClose(known: Registered, app: App, context: HookContext): Promise<void> {
  const emitClose = afterDrainOf(app) === undefined ? holdCloseEvent(known.server) : () => {}
  const draining = drainOfApp(known, app, context)
  void draining.then(emitClose, emitClose)
  return draining
}

/** The app's own afterDrain, and then the close of what is attached. */
function afterDrainOf({ options: { afterDrain }, closers }: App): DrainOptions['afterDrain'] {
  if (closers.size === 0) return afterDrain
  return async (context) => {
    try {
      await afterDrain?.(context)
    } finally {
      for (const closer of closers) await closer.close()
    }
  }
}

async function drainOfApp(known: Registered, app: App, context: HookContext): Promise<void> {
  const afterDrain = afterDrainOf(app)
  if (app.draining.size === 0) {
    app.afterDrain = withResolvers()
    app.isAfterDrainCalled = false
  }
  const { promise, resolve } = app.afterDrain
  const whenAllAreDone = () => {
    app.draining.set(known, true)
    const isLast = [...app.draining.values()].every(Boolean)
    if (!isLast || app.isAfterDrainCalled) return promise.catch(() => {}) // the drain that called it reports its error
    app.isAfterDrainCalled = true
    resolve(runInsideHook(() => afterDrain?.(context)))
    return promise
  }
  app.draining.set(known, false)
  try {
    const options = afterDrain === undefined ? app.options : { ...app.options, afterDrain: whenAllAreDone }
    await drain({ ...known, options }, countsOfReport(), context)
  } finally {
    app.draining.delete(known)
  }
}

/** From now on a server that begins to listen with the same handler is drained, too. */
function watchFurtherServers(known: Registered): void {
  const reference = new WeakRef(known)
  for (const handler of known.server.listeners('request')) handlers.set(handler, reference)
  watchListeners()
}

function watchListeners(): void {
  if (isWatchingListeners) return
  isWatchingListeners = true
  subscribe('tracing:net.server.listen:asyncEnd', (message) => {
    const { server } = message as { server: Server }
    if (!isServer(server) || registered.has(server)) return
    // grpc-js adds the server to its own list on this event.
    if (grpcServers.size > 0) server.once('listening', () => trackGrpcOf(server))
    const app = server
      .listeners('request')
      .map((handler) => handlers.get(handler)?.deref()?.app)
      .find((found) => found !== undefined)
    if (app === undefined) trackUnknown(server)
    else track(server, app, true)
  })
}

function trackGrpcOf(server: Server): void {
  for (const grpc of grpcServers.keys()) {
    if (http2ServersOf(grpc)?.has(server) === true) trackGrpc(grpc, server)
  }
}
