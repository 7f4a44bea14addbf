import type { ChildProcess } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { constants } from 'node:os'
import { isPid1, isWorker } from './environment.ts'
import { note } from './log.ts'
import { native } from './native.ts'
import { firstThreadOfNode, hasChildren, listChildren, type Process, readProcess } from './processes.ts'
import { listenForChildren } from './signals.ts'
import { state } from './state.ts'

/**
 * As PID 1 (or as it was configured) waits for orphans, and for them alone: libuv waits for each child that it started,
 * and hangs if somebody else took the status. So a child is reaped when nobody has asked for its status for long enough.
 */
export function keepReaping(): void {
  const wanted = !isWorker() && (state.options.reap ?? isPid1())
  if (!wanted) return stop()
  if (!reaping && !begin()) return
  reaping = true
  lookAfter(0)
}

/** Was it there before Node was, so that Node cannot be waiting for it? A sidecar that the entrypoint's shell has started. */
export function isOlderThanNode({ pid, startTime }: Process): boolean {
  first ??= firstThreadOfNode()
  if (first === undefined) return false
  // In one and the same tick the numbers, which the kernel gives out in turn, tell which came first.
  return startTime < first.startTime || (startTime === first.startTime && pid < first.pid)
}

interface Sighting {
  readonly startTime: number
  readonly since: number
}

let reaping = false
let first: Process | undefined
/** Node's own, on this thread. The object is announced before it has a pid. */
const children = new Set<ChildProcess>()
/** Children that were there before we could know whose they are: Node's, unless they are older than Node. */
const unknown = new Map<number, Process>()
/** Zombies that were seen, and since when. */
const sightings = new Map<number, Sighting>()
let timer: NodeJS.Timeout | undefined
let nextLookAt = Infinity
let lastLookMs = 0

const coalesceMs = 50
const pollMs = 5000

function begin(): boolean {
  if (native() === undefined) {
    note('reaper', 'off: it needs the native part')
    return false
  }
  if (!isPid1()) native()?.becomeSubreaper()
  subscribe('child_process', remember)
  for (const pid of listChildren()) {
    const found = readProcess(pid)
    if (found !== undefined && !isOlderThanNode(found)) unknown.set(pid, found)
  }
  listenForChildren(lookSoon)
  return true
}

/** Nobody is left to forget a child that has ended. */
function stop(): void {
  reaping = false
  unsubscribe('child_process', remember)
  children.clear()
  unknown.clear()
  sightings.clear()
}

function remember(message: unknown): void {
  children.add((message as { process: ChildProcess }).process)
}

function lookSoon(): void {
  lookAfter(coalesceMs)
}

/** One timer for all: the earliest look that is wanted. Its cost is kept to a tenth of the time, whatever lives here. */
function lookAfter(ms: number): void {
  // At most: a process that was stopped in the middle of a look (`docker pause`) seems to have looked for long.
  const at = performance.now() + Math.max(ms, Math.min(lastLookMs * 10, pollMs))
  if (!reaping || at >= nextLookAt) return
  clearTimeout(timer)
  nextLookAt = at
  // After the poll phase, in which libuv and addons on its loop wait for what is theirs: one lies between two looks.
  timer = setTimeout(() => setImmediate(look), Math.max(0, at - performance.now())).unref()
}

function look(): void {
  const startedAt = performance.now()
  nextLookAt = Infinity
  if (!reaping) return
  const pids = listChildren()
  const ours = pidsOfNode()
  const orphans = pids.filter((pid) => !ours.has(pid))
  // The kernel's list may leave some out while children come and go.
  for (const pid of new Set([...orphans, ...sightings.keys()])) lookAt(pid, startedAt)
  lastLookMs = performance.now() - startedAt
  const since = Math.min(...[...sightings.values()].map((sighting) => sighting.since))
  if (sightings.size > 0) lookAfter(Math.max(coalesceMs, since + reapAfterMs() - performance.now()))
  // Those of a worker, too, are there to be found: when it leaves, the kernel hands over the dead ones without a signal.
  else if (pids.length > 0 || hasChildren()) lookAfter(pollMs)
}

function lookAt(pid: number, now: number): void {
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
  // ECHILD: it was a worker's, or somebody has asked at last.
  note('reaper', status < 0 ? 'did not reap %d: %s' : 'reaped %d, which ended with %s', pid, nameOf(status))
}

function nameOf(status: number): string {
  if (status < 0) return Object.entries(constants.errno).find(([, errno]) => errno === -status)?.[0] ?? String(status)
  const signal = status & 0x7f
  if (signal === 0) return `code ${status >> 8}`
  return Object.entries(constants.signals).find(([, number]) => number === signal)?.[0] ?? `signal ${signal}`
}

function pidsOfNode(): Set<number> {
  for (const child of children) {
    // Over and waited for, or never started.
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) children.delete(child)
  }
  for (const [pid, { startTime }] of unknown) {
    if (readProcess(pid)?.startTime !== startTime) unknown.delete(pid)
  }
  return new Set([...unknown.keys(), ...[...children].map(({ pid = 0 }) => pid)])
}

function reapAfterMs(): number {
  return state.options.reapAfterMs ?? 1000
}
