import type { ChildProcess } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { constants } from 'node:os'
import { debug } from '../log.ts'
import { native } from '../native.ts'
import { firstThreadOfNode, listAllChildren, listChildren, type Process, readProcess } from '../platform/processes.ts'
import { isPid1, isWorker } from '../platform/this-process.ts'
import { listenForChildExits } from '../signals/our-listeners.ts'
import { state } from '../state.ts'
import { clearTimeout, performance, setImmediate, setTimeout } from '../time/timers.ts'

interface Sighting {
  readonly startTime: number
  readonly since: number
}

let reaping = false
let firstThread: Process | undefined
/** The children that Node has started on this thread while the reaper was on. Node announces each before it has a pid. */
const children = new Set<ChildProcess>()
/** Children from before the reaper was on. They may be Node's or orphans, so they count as Node's, unless they are older than Node. */
const earlierChildren = new Map<number, Process>()
/** The zombies that were found, and since when. */
const sightings = new Map<number, Sighting>()
let timer: NodeJS.Timeout | undefined
let nextScanAt = Infinity
let lastScanMs = 0

const coalesceMs = 50
const pollMs = 5000

/**
 * Turns the reaper on as PID 1, or as configured; else off. The reaper waits for orphans, and for no other child, because libuv waits for
 * each child that it has started, and hangs if someone else reaps it. So a zombie is reaped only when nobody has asked for its status for
 * `reapAfterMs`.
 */
export function keepReaping(): void {
  const wanted = !isWorker() && (state.options.reap ?? isPid1())
  if (!wanted) return stop()
  if (!reaping && !begin()) return
  reaping = true
  scanAfter(0)
}

/** Whether the process is older than Node, so Node cannot be waiting for it: a sidecar that the entrypoint's shell has started. */
export function isOlderThanNode({ pid, startTime }: Process): boolean {
  firstThread ??= firstThreadOfNode()
  if (firstThread === undefined) return false
  // Within one clock tick the pids, which the kernel gives out in turn, tell which process came first.
  return startTime < firstThread.startTime || (startTime === firstThread.startTime && pid < firstThread.pid)
}

function begin(): boolean {
  if (native() === undefined) {
    debug('reaper', 'off: it needs the native part')
    return false
  }
  const pids = listChildren()
  if (pids === undefined) {
    debug('reaper', 'off: it cannot see which children are there')
    return false
  }
  if (!isPid1()) native()?.becomeSubreaper()
  subscribe('child_process', rememberChild)
  for (const pid of pids) {
    const found = readProcess(pid)
    if (found !== undefined && !isOlderThanNode(found)) earlierChildren.set(pid, found)
  }
  listenForChildExits(scanSoon)
  return true
}

/** Clears the sets, because nothing removes ended children from them while the reaper is off. */
function stop(): void {
  reaping = false
  unsubscribe('child_process', rememberChild)
  children.clear()
  earlierChildren.clear()
  sightings.clear()
}

function rememberChild(message: unknown): void {
  children.add((message as { process: ChildProcess }).process)
}

function scanSoon(): void {
  scanAfter(coalesceMs)
}

/** Sets the one shared timer, for the earliest scan requested. Scanning is limited to a tenth of the time. */
function scanAfter(ms: number): void {
  // At most `pollMs`, because a process that was stopped during a scan (`docker pause`) appears to have scanned for a long time.
  const at = performance.now() + Math.max(ms, Math.min(lastScanMs * 10, pollMs))
  if (!reaping || at >= nextScanAt) return
  clearTimeout(timer)
  nextScanAt = at
  // By setImmediate, so that a poll phase lies between two scans: in it libuv, and addons on its loop, wait for their own children.
  timer = setTimeout(() => setImmediate(scan), Math.max(0, at - performance.now())).unref()
}

function scan(): void {
  const startedAt = performance.now()
  nextScanAt = Infinity
  if (!reaping) return
  const pids = listChildren()
  if (pids === undefined) return scanAfter(pollMs)
  const ours = pidsOfNode()
  const orphans = pids.filter((pid) => !ours.has(pid))
  // The kernel's list may omit a child while others come and go.
  for (const pid of new Set([...orphans, ...sightings.keys()])) checkForZombie(pid, startedAt)
  lastScanMs = performance.now() - startedAt
  const since = Math.min(...[...sightings.values()].map((sighting) => sighting.since))
  if (sightings.size > 0) scanAfter(Math.max(coalesceMs, since + reapAfterMs() - performance.now()))
  // Also poll while a worker thread has children: when it exits, its zombies are re-parented to the main thread without SIGCHLD.
  else if (pids.length > 0 || listAllChildren()?.length !== 0) scanAfter(pollMs)
}

function checkForZombie(pid: number, now: number): void {
  const seen = sightings.get(pid)
  if (seen !== undefined && now - seen.since < reapAfterMs()) return
  const found = readProcess(pid)
  if (found?.state !== 'Z' || found.parent !== process.pid) {
    sightings.delete(pid)
  } else if (seen?.startTime !== found.startTime) {
    sightings.set(pid, { startTime: found.startTime, since: now })
  } else {
    sightings.delete(pid)
    reap(pid)
  }
}

function reap(pid: number): void {
  const status = native()?.reap(pid) ?? -constants.errno.ENOSYS
  // ECHILD: the child belongs to a worker thread, or someone else has reaped it at last.
  debug('reaper', status < 0 ? 'did not reap %d: %s' : 'reaped %d, which ended with %s', pid, nameOf(status))
}

function nameOf(status: number): string {
  if (status < 0) return Object.entries(constants.errno).find(([, errno]) => errno === -status)?.[0] ?? String(status)
  const signal = status & 0x7f
  if (signal === 0) return `code ${status >> 8}`
  return Object.entries(constants.signals).find(([, number]) => number === signal)?.[0] ?? `signal ${signal}`
}

function pidsOfNode(): Set<number> {
  for (const child of children) {
    // It was waited for, or could not be started.
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) children.delete(child)
  }
  for (const [pid, { startTime }] of earlierChildren) {
    const found = readProcess(pid)
    // A process that cannot be read, because no file descriptor is left, still counts as Node's.
    if (found === undefined ? hasVanished(pid) : found.startTime !== startTime) earlierChildren.delete(pid)
  }
  return new Set([...earlierChildren.keys(), ...[...children].map(({ pid = 0 }) => pid)])
}

function hasVanished(pid: number): boolean {
  try {
    return !process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

function reapAfterMs(): number {
  return state.options.reapAfterMs ?? 1000
}
