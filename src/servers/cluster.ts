import type { Worker } from 'node:cluster'
import type { EventEmitter } from 'node:events'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Server } from 'node:net'
import { endLate } from '../children/late-children.ts'
import { Pid1Error } from '../errors.ts'
import { exitCodeOfCtrlC, exitCodeOfSignal, exitCodeOfTimeout } from '../exit/exit-code.ts'
import type { HookContext } from '../hook.ts'
import { registerHook } from '../hooks/register-hook.ts'
import { debug } from '../log.ts'
import { native } from '../native.ts'
import { fdOf } from '../platform/private-fields.ts'
import { isAlive, listOpenFiles, readProcess, sendSignal } from '../platform/processes.ts'
import { cluster, drainedMessage, isClusterWorker, isWorker } from '../platform/this-process.ts'
import { hasWaitingListeners, type Running, state } from '../state.ts'
import { marginMs } from '../time/deadline.ts'
import { performance, setImmediate } from '../time/timers.ts'
import { pause } from '../time/wait.ts'
import { delayWithin } from './drain-delay.ts'
import { interceptEvents } from './intercept-events.ts'
import { drainSettings, lastBytesMs } from './drain-settings.ts'
import { untilAcceptQueueIsEmpty } from './listener/accept-queue.ts'
import { refuseNewConnections } from './listener/refuse-new-connections.ts'

interface Handle {
  readonly fd: number
}

type ListeningServer = Server & { _handle?: Handle | null; _usingWorkers?: boolean }

/** The sockets that this process, if it is a primary, listens on for its workers. */
const workersHandles = new Set<Handle>()
/** The app's own servers that listen. */
const appServers = new Set<ListeningServer>()
let isWatchingForks = false
let isRecording = false

/** In a primary: records its sockets, for the drain. In a worker: calls `onDisconnect` when it is disconnected from its primary. */
export function watchCluster(onDisconnect: (reason: string, exitCode: number) => void): void {
  if (isWorker()) return
  recordSockets()
  if (isClusterWorker()) watchPrimary(onDisconnect)
}

/** Needs `server._handle`; where it is missing a primary sends the signal to its workers although connections still arrive. */
export function recordSockets(): void {
  if (isRecording) return
  isRecording = true
  subscribe('tracing:net.server.listen:asyncEnd', (message) => {
    const { server } = message as { server: ListeningServer }
    const handle = server._handle
    if (!handle) return
    appServers.add(server)
    server.once('close', () => appServers.delete(server))
    // Node's cluster takes the handle from its private server once that listens. The app's servers keep their handles.
    setImmediate(() => void (server._handle === null && handle.fd > 0 && workersHandles.add(handle))).unref()
  })
}

/**
 * A worker that loses its primary shuts down. Node alone would end it at once, in the middle of its requests and with 0; or, if the
 * primary has called `worker.disconnect()`, would wait until its event loop is empty. A worker that disconnects itself stays as Node
 * leaves it, because it may be in the middle of its own close.
 */
function watchPrimary(onDisconnect: (reason: string, exitCode: number) => void): void {
  const primary = process.ppid
  const begin = () => onDisconnect('disconnected from the primary', 0)
  onDisconnectByPrimary(() => {
    // Node closes the servers, and disconnects when their connections are closed. Where no drain is registered, nothing else waits for that.
    if (state.hooks.intake.size > 0) begin()
    else process.once('disconnect', begin)
  })
  process.prependListener('disconnect', () => {
    const { worker } = cluster()
    // The app's own end is under way, and the primary has ended as well: Node's own listener does what it always did.
    if (state.running?.endOfApp !== undefined) return
    if (worker === undefined || worker.exitedAfterDisconnect) return
    worker.exitedAfterDisconnect = true // so that Node's own listener, which is next, does not exit
    void diesSoon(primary).then((hasDied) => {
      if (hasDied) onDisconnect('the primary has died', 1)
      else begin()
    })
  })
}

/**
 * Calls back when the primary has called `worker.disconnect()`, before Node closes the worker's servers. Needs the event
 * `internalMessage` of `process`, and `act` in the message, because a worker that disconnects itself looks the same afterwards; where one
 * is missing, a worker that was disconnected shuts down when its event loop is empty.
 */
function onDisconnectByPrimary(callback: () => void): void {
  const emitter: NodeJS.EventEmitter = process
  emitter.prependListener('internalMessage', (message: { readonly cmd?: unknown; readonly act?: unknown }) => {
    if (message.cmd === 'NODE_CLUSTER' && message.act === 'disconnect') callback()
  })
}

/** A process that exits closes its channels first, and has died a moment later. */
async function diesSoon(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 20; tries++) {
    const found = readProcess(pid)
    if (process.ppid !== pid || (found !== undefined && !isAlive(found))) return true
    await pause(10)
  }
  return false
}

/**
 * In a primary: registers a hook of the stage intake that stops new connections, sends the signal to the workers, and waits for them.
 * With a drain delay the first two belong to the stage announce. But the app's own hooks of that stage come first, because the delay of
 * the workers begins with their signal.
 */
export function drainWorkersOf(running: Running): void {
  if (isWorker()) return
  // A process without children need not load `node:cluster`, which takes time.
  if (process.getActiveResourcesInfo().includes('ProcessWrap')) watchForks()
  else subscribe('child_process', watchForks)
  if (!isWatchingForks || cluster().isWorker) return
  const workers = Object.values(cluster().workers ?? {}).filter((worker) => worker !== undefined)
  if (workers.length === 0) return
  if (state.unaware === 'app') holdEnds(workers, running)
  const { drainDelayMs } = drainSettings({})
  const stopsInAnnounce = drainDelayMs > 0 && state.hooks.announce.size === 0
  if (stopsInAnnounce) {
    const hook = (context: HookContext) => stopWithDelay(workers, running, drainDelayMs, context.remainingMs())
    registerHook({ name: 'cluster', stage: 'announce', endsItself: true, hook })
  }
  const hook = async (context: HookContext) => {
    if (!stopsInAnnounce) await stopWithDelay(workers, running, drainDelayMs, context.remainingMs() / 3)
    await waitForWorkers(workers, running, context)
  }
  registerHook({ name: 'cluster', stage: 'intake', endsItself: true, hook })
}

/** Many primaries fork again for each worker that exits. A worker that is forked during a shutdown is ended, and not waited for. */
function watchForks(): void {
  unsubscribe('child_process', watchForks)
  if (isWatchingForks) return
  isWatchingForks = true
  cluster().on('fork', (worker) => {
    if (state.running === undefined) return
    worker.exitedAfterDisconnect = true
    endLate(worker.process)
  })
}

async function stopWithDelay(workers: Worker[], running: Running, wantedMs: number, mostMs: number): Promise<void> {
  const delayMs = delayWithin(wantedMs, mostMs, running)
  if (delayMs > 0) {
    sendSignalTo(workers, running) // their readiness fails then, and they continue to accept
    await pause(delayMs - aheadMs)
  }
  const leftMs = running.clock.deadline - performance.now()
  await stopNewConnections(Math.min(marginMs(running.clock.gracePeriodMs), leftMs / 4))
  if (delayMs === 0) sendSignalTo(workers, running)
}

/**
 * An app that does not know this package may exit when a worker has ended, while other workers still answer. So these events are held until
 * the app's own end. A worker that has drained says so, because it may wait for what the primary does then, such as a message.
 */
function holdEnds(workers: readonly Worker[], running: Running): void {
  const held: (() => void)[] = []
  let isHolding = true
  const emitters = [cluster() as unknown as EventEmitter, ...workers]
  const stops = emitters.map((emitter) =>
    interceptEvents(emitter, (emit, event, args) => {
      if (!isHolding || (event !== 'exit' && event !== 'disconnect')) return emit(event, ...args)
      held.push(() => emit(event, ...args))
      return true
    }),
  )
  for (const { process: child } of workers) {
    const emitter: EventEmitter = child
    emitter.on('internalMessage', ({ cmd }: { readonly cmd?: unknown }) => {
      if (cmd === drainedMessage && child.pid !== undefined) running.drainedWorkers.add(child.pid)
    })
  }
  running.heldEvents.add(() => {
    isHolding = false
    for (const stop of stops) stop()
    for (const emitHeld of held) emitHeld()
  })
}

/** Whether the worker has ended, or has drained and waits for what the listeners of the primary do. */
function isDone(worker: Worker, running: Running): boolean {
  return worker.isDead() || (hasWaitingListeners(running) && running.drainedWorkers.has(worker.process.pid ?? 0))
}

async function waitForWorkers(workers: Worker[], running: Running, context: HookContext): Promise<void> {
  while (workers.some((worker) => !isDone(worker, running)) && context.remainingMs() > lastBytesMs) await pause(5)
  throwIfOneFailed(workers, running)
}

async function stopNewConnections(capMs: number): Promise<void> {
  const part = native()
  const passing = fdsOfPassing()
  const idleMs = passing.length > 0 ? passingIdleMs : primaryIdleMs
  const fds = [...[...workersHandles].map(({ fd }) => fd).filter((fd) => fd > 0), ...passing]
  // With SCHED_NONE the workers accept themselves. The diagnostics channel does not show those sockets, but they are open here, too.
  if (part !== undefined && cluster().schedulingPolicy === cluster().SCHED_NONE) {
    fds.push(...listOpenFiles().filter((fd) => part.isListening(fd) === 1))
  }
  const stopped = part === undefined ? [] : fds.filter((fd) => refuseNewConnections(part, fd) !== 'no')
  if (part !== undefined && stopped.length > 0) await untilAcceptQueueIsEmpty(part, stopped, idleMs, capMs)
  else if (passing.length > 0) await pause(idleMs)
}

/**
 * The sockets of the app's servers whose connections it passes to workers with `send(message, socket)`, as sticky sessions do.
 * Needs `server._usingWorkers`; where it is missing the workers may get the signal while connections are still passed to them.
 */
function fdsOfPassing(): number[] {
  return [...appServers].filter((server) => server._usingWorkers === true && server._handle).map(fdOf)
}

/** Sends SIGTERM, but not after a Ctrl-C: the terminal sends SIGINT to its whole process group, so the workers have it. */
function sendSignalTo(workers: Worker[], { cause }: Running): void {
  for (const worker of workers) worker.exitedAfterDisconnect = true // an app that checks it does not fork again
  // A signal that the app has emitted itself (the native part has not seen it) has reached no other process.
  if (cause.signal === 'SIGINT' && cause.fromTerminal === true && native()?.isFromTerminal() !== 0)
    return debug('servers', 'the terminal has sent SIGINT to the workers')
  for (const worker of workers) {
    const { pid } = worker.process
    // A worker that runs as another user may not be signalled. It exits when its servers are closed and it is disconnected.
    if (pid !== undefined && !worker.isDead() && !sendSignal(pid, 'SIGTERM')) worker.disconnect()
  }
}

/**
 * A worker that fails makes the shutdown fail. A worker without pid1 dies of the signal that it got, which is fine. One that dies of
 * another signal was killed or has crashed.
 */
function throwIfOneFailed(workers: Worker[], running: Running): void {
  const { cause } = running
  const left = workers.filter((worker) => !isDone(worker, running)).map(({ process: { pid } }) => pid)
  if (left.length > 0) throw new Pid1Error('PID1_HOOK_TIMEOUT', `did not end in time: worker ${left.join(', ')}`)
  const processes = workers.map((worker) => worker.process)
  if (processes.some(({ exitCode }) => exitCode === exitCodeOfTimeout)) {
    throw new Pid1Error('PID1_HOOK_TIMEOUT', `has a worker that was out of time (exit code ${exitCodeOfTimeout})`)
  }
  const failed = processes.find(({ exitCode }) => !goodCodes.has(exitCode))
  if (failed !== undefined) throw new Error(`a worker ended with exit code ${failed.exitCode}`)
  const goodSignals = new Set([null, 'SIGTERM', cause.signal])
  const killed = processes.find(({ signalCode }) => !goodSignals.has(signalCode))
  if (killed !== undefined) throw new Error(`a worker was ended by ${killed.signalCode}`)
}

// The workers get the signal when no connection has arrived for this long. A connection that the primary has accepted is in its memory
// until a worker takes it.
const primaryIdleMs = 60
// The same where the app passes connections on: it may do so when their first bytes have arrived.
const passingIdleMs = 100
// With a drain delay the primary stops new connections this long before the workers do.
const aheadMs = 200

// The exit codes of success, of Ctrl-C in a terminal, and of `exitCode: 'signal'`.
const goodCodes = new Set<number | null>([null, 0, exitCodeOfCtrlC, exitCodeOfSignal('SIGTERM')])
