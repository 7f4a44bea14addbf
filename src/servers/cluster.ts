import type { Worker } from 'node:cluster'
import { subscribe } from 'node:diagnostics_channel'
import { marginMs, waitAtMost } from '../deadline.ts'
import { cluster, hasTerminal, isWorker } from '../environment.ts'
import { Pid1Error } from '../errors.ts'
import { registerHook } from '../hooks.ts'
import { note } from '../log.ts'
import { native } from '../native.ts'
import { listOpenFiles } from '../processes.ts'
import type { HookContext, Running } from '../state.ts'
import { drainSettings, reactionMs } from './drain.ts'
import { stopNew, untilEmpty } from './listener.ts'

/** From now on the sockets are known that a primary listens on for its workers. */
export function watchCluster(): void {
  subscribe('tracing:net.server.listen:asyncEnd', (message) => {
    const { server } = message as { server: { _handle?: Handle | null } }
    const handle = server._handle
    // Cluster takes the handle from its server when that listens; those of the app's servers stay where they are.
    if (handle) setImmediate(() => void (server._handle === null && handle.fd > 0 && handles.add(handle)))
  })
}

/** In a primary the end of its workers is part of intake: no new connections, then the signal for the workers. */
export function drainWorkersOf(running: Running): void {
  // To load `node:cluster` takes its time, which a process without children need not spend.
  if (isWorker() || !process.getActiveResourcesInfo().includes('ProcessWrap') || cluster().isWorker) return
  const workers = Object.values(cluster().workers ?? {}).filter((worker) => worker !== undefined)
  if (workers.length === 0) return
  const hook = (context: HookContext) => drainWorkers(workers, running, context)
  registerHook({ name: 'cluster', stage: 'intake', endsItself: true, hook })
}

interface Handle {
  readonly fd: number
}

const handles = new Set<Handle>()

// What the primary has accepted is in its memory until a worker takes it.
const primaryQuietMs = 60
// So much sooner than the workers stop accepting, where they go on for a while.
const aheadMs = 200

async function drainWorkers(workers: Worker[], running: Running, context: HookContext): Promise<void> {
  const delayMs = Math.min(drainSettings({}).drainDelayMs, context.remainingMs() / 3)
  if (delayMs > 0) {
    passOn(workers, running) // with the signal their readiness fails, and they go on accepting
    await waitAtMost(delayMs - aheadMs, [])
  }
  await stopNewConnections(Math.min(marginMs(running.clock.gracePeriodMs), context.remainingMs() / 4))
  if (delayMs === 0) passOn(workers, running)
  while (workers.some((worker) => !worker.isDead()) && context.remainingMs() > reactionMs) await waitAtMost(5, [])
  complainOfEnds(workers)
}

// Done; done on a terminal after Ctrl-C; done with `exitCode: 'signal'`.
const goodCodes = new Set([0, 130, 143])

async function stopNewConnections(capMs: number): Promise<void> {
  const part = native()
  if (part === undefined) return
  const fds = [...handles].map(({ fd }) => fd).filter((fd) => fd > 0)
  // Sockets that the workers accept from themselves pass no channel: they are among our own.
  if (cluster().schedulingPolicy === cluster().SCHED_NONE) {
    fds.push(...listOpenFiles().filter((fd) => part.isListening(fd) === 1))
  }
  const closed = fds.filter((fd) => stopNew(part, fd) !== 'no')
  if (closed.length > 0) await untilEmpty(part, closed, primaryQuietMs, capMs)
}

/** A terminal has told its whole process group of a Ctrl-C, and a second one would force the end. */
function passOn(workers: Worker[], { cause }: Running): void {
  const fromTerminal = cause.signal === 'SIGINT' && (native()?.isFromTerminal() ?? Number(hasTerminal())) === 1
  if (fromTerminal) return note('servers', 'the terminal has told the workers')
  for (const worker of workers) if (!worker.isDead()) worker.process.kill('SIGTERM')
}

/** What a worker did not finish, this process did not finish. One that does not know of us dies of the signal, which is well. */
function complainOfEnds(workers: Worker[]): void {
  const left = workers.filter((worker) => !worker.isDead()).map(({ process: { pid } }) => pid)
  if (left.length > 0) throw new Pid1Error('PID1_HOOK_TIMEOUT', `did not end in time: worker ${left.join(', ')}`)
  const codes = workers.flatMap(({ process: { exitCode } }) => exitCode ?? [])
  if (codes.includes(124)) throw new Pid1Error('PID1_HOOK_TIMEOUT', 'has a worker that was out of time (exit code 124)')
  const failed = codes.find((code) => !goodCodes.has(code))
  if (failed !== undefined) throw new Error(`a worker ended with exit code ${failed}`)
}
