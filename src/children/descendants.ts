import type { SuperviseOptions } from '../options.ts'
import {
  isAlive,
  listAllChildren,
  listDescendants,
  type Process,
  readProcess,
  sendSignal,
} from '../platform/processes.ts'
import { isPid1, isWorker } from '../platform/this-process.ts'
import type { StageName } from '../stages.ts'
import { state } from '../state.ts'
import { performance } from '../time/timers.ts'
import { pidsOfLate } from './late-children.ts'
import { isOlderThanNode } from './reaper.ts'

/** The stages that had a process to end at the last scan, and until when that answer is used. */
let lastScan: { kinds: ReadonlySet<StageName>; until: number } = { kinds: new Set(), until: 0 }

/** Whether this stage has a process to end. The answer may be a moment old, because scanning is limited to a twentieth of the time. */
export function hasDescendants(stage: 'children' | 'sidecars'): boolean {
  const startedAt = performance.now()
  if (startedAt >= lastScan.until) {
    const kinds = findKinds()
    const endedAt = performance.now()
    lastScan = { kinds, until: endedAt + 20 * (endedAt - startedAt) }
  }
  return lastScan.kinds.has(stage)
}

/** Does not include processes that entered the container from outside (`docker exec`, health checks): their parent is not ours. */
export function findDescendants(): Record<'children' | 'sidecars', Process[]> {
  const found = { children: [] as Process[], sidecars: [] as Process[], late: [] }
  if (isWorker()) return found
  const all = endsAll() ? listDescendants() : []
  const pids = new Set(all.map(({ pid }) => pid))
  all.push(...supervisedProcesses().filter(({ pid }) => !pids.has(pid)))
  const kindOf = newClassifier()
  for (const each of all) {
    const kind = kindOf(each)
    if (kind !== 'late' && isAlive(each)) found[kind].push(each)
  }
  return found
}

/** The stages that have a process to end. The stage of a child is the stage of all its descendants. */
function findKinds(): Set<StageName> {
  const kinds = new Set<StageName>()
  if (isWorker()) return kinds
  for (const { sidecar = false } of state.supervised.values()) kinds.add(sidecar ? 'sidecars' : 'children')
  const kindOf = newClassifier()
  for (const pid of endsAll() ? (listAllChildren() ?? []) : []) {
    if (kinds.size === 2) break
    const child = readProcess(pid)
    const kind = child === undefined ? 'late' : kindOf(child)
    if (child !== undefined && kind !== 'late' && isAlive(child) && sendSignal(pid, 0)) kinds.add(kind)
  }
  return kinds
}

/** The function that it returns must be called for parents before their children, dead parents included: a child inherits the stage. */
function newClassifier(): (each: Process) => 'children' | 'sidecars' | 'late' {
  const kinds = new Map<number, 'children' | 'sidecars' | 'late'>()
  for (const pid of supervisedPids(true)) kinds.set(pid, 'sidecars')
  for (const pid of state.running?.drainedWorkers ?? []) kinds.set(pid, 'sidecars')
  for (const pid of pidsOfLate()) kinds.set(pid, 'late')
  return (each) => {
    const inherited = each.parent === process.pid && isOlderThanNode(each) ? 'sidecars' : kinds.get(each.parent)
    const kind = kinds.get(each.pid) ?? inherited ?? 'children'
    kinds.set(each.pid, kind)
    return kind
  }
}

/** Works without `/proc` too, because the kernel gives the pid of a child to no other process before the child has been waited for. */
function supervisedProcesses(): Process[] {
  return [...state.supervised.keys()].flatMap(({ pid }) => {
    return pid === undefined
      ? []
      : (readProcess(pid) ?? { pid, name: '', parent: process.pid, state: '', threads: 1, startTime: 0 })
  })
}

function endsAll(): boolean {
  return state.options.children === undefined ? isPid1() : state.options.children === 'terminate'
}

function supervisedPids(sidecars: boolean): number[] {
  const supervised = [...state.supervised].filter(([, { sidecar = false }]) => sidecar === sidecars)
  return supervised.flatMap(([{ pid }]) => pid ?? [])
}

export function optionsOf(pid: number): SuperviseOptions {
  return [...state.supervised].find(([child]) => child.pid === pid)?.[1] ?? {}
}

export function keyOf({ pid, startTime }: Pick<Process, 'pid' | 'startTime'>): string {
  return `${pid} ${startTime}`
}
