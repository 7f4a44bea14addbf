import type { ChildProcess } from 'node:child_process'
import { constants } from 'node:os'
import { waitAtMost } from './deadline.ts'
import { isPid1, isWorker } from './environment.ts'
import { note } from './log.ts'
import { checkSuperviseOptions, expectThat, isDisabled, type StageName, type SuperviseOptions } from './options.ts'
import { isAlive, listDescendants, type Process, readProcess } from './processes.ts'
import { isOlderThanNode } from './reaper.ts'
import { noteRegistration, type Running, state, type SupervisedChild, undo, type Unregister } from './state.ts'

export function superviseChild(child: SupervisedChild, options: SuperviseOptions = {}): Unregister {
  expectThat(isChild(child), 'the child', 'a child process, such as `spawn` returns', child)
  checkSuperviseOptions(options)
  if (isDisabled()) return undo(() => {})
  noteRegistration()
  const own = { ...options }
  const forget = () => {
    if (state.supervised.get(child) === own) state.supervised.delete(child)
    child.off('exit', onEnd)
  }
  const onEnd = (code: number | null, signal: NodeJS.Signals | null) => {
    forget()
    const exitCode = signal === null ? (code ?? 0) : 128 + constants.signals[signal]
    if (options.endsService === true) endService(`child ${child.pid} ended with ${signal ?? `code ${code}`}`, exitCode)
  }
  state.supervised.set(child, own)
  child.once('exit', onEnd)
  const { exitCode = null, signalCode = null } = child as Partial<ChildProcess>
  if (exitCode !== null || signalCode !== null) onEnd(exitCode, signalCode)
  return undo(forget)
}

/** Who is told that a child ended which ends the service too. */
export function listenForEndOfService(told: typeof endService): void {
  endService = told
}

/** Is there anything that this stage would have to end? */
export function hasDescendants(stage: 'children' | 'sidecars'): boolean {
  return findDescendants()[stage].length > 0
}

/**
 * Asks every descendant to end, waits, and kills those that are left when their time is up. When PID 1 exits the kernel kills
 * all of them without a word.
 */
export async function endDescendants(stage: StageName, running: Running, endsAt: number): Promise<void> {
  const asked = new Map<string, Asked>()
  const { deadline, watchdogAt } = running.clock
  for (;;) {
    const startedAt = performance.now()
    const { children, sidecars } = findDescendants()
    const left = stage === 'children' ? children : [...children, ...sidecars] // the hooks of flush may have started some
    for (const found of left) {
      const key = keyOf(found)
      if (!asked.has(key))
        asked.set(key, { pid: found.pid, endsAt: Math.min(endsAt, startedAt + ask(found)), killed: false })
    }
    const remaining = new Set(left.map(keyOf))
    for (const [key, known] of asked) if (remaining.has(key) && startedAt >= known.endsAt) kill(known)
    if (left.length === 0 || startedAt >= endsAt + Math.min(dyingMs, (watchdogAt - deadline) / 2)) break
    // What the kernel is asked costs at most a fifth of the time, however many processes there are.
    await waitAtMost(Math.max(lookMs, 4 * (performance.now() - startedAt)), [])
  }
  const killed = [...asked.values()].filter((known) => known.killed).length
  running.children.killed += killed
  running.children.terminated += asked.size - killed
}

interface Asked {
  readonly pid: number
  readonly endsAt: number
  killed: boolean
}

const lookMs = 10
// A process that was killed is gone in a moment, unless it hangs in the kernel.
const dyingMs = 200

let endService: (reason: string, exitCode: number) => void = () => {}

/** Never those that entered the container from outside (`docker exec`, health checks): their parent is not ours. */
function findDescendants(): Record<'children' | 'sidecars', Process[]> {
  if (isWorker()) return { children: [], sidecars: [] }
  const sidecars = new Set(supervisedPids(true))
  const found = endsAll() ? listDescendants() : []
  found.push(...supervisedProcesses().filter(({ pid }) => found.every((other) => other.pid !== pid)))
  // Parents come first: what a sidecar has started is its own to end.
  for (const each of found) {
    if (each.parent === process.pid ? isOlderThanNode(each) : sidecars.has(each.parent)) sidecars.add(each.pid)
  }
  const alive = found.filter(isAlive)
  return {
    children: alive.filter(({ pid }) => !sidecars.has(pid)),
    sidecars: alive.filter(({ pid }) => sidecars.has(pid)),
  }
}

/** Nobody else has the pid of one that has not ended, so it is known without `/proc` too. */
function supervisedProcesses(): Process[] {
  return [...state.supervised.keys()].flatMap(({ pid }) => {
    return pid === undefined
      ? []
      : (readProcess(pid) ?? { pid, parent: process.pid, state: '', threads: 1, startTime: 0 })
  })
}

function endsAll(): boolean {
  return state.options.children === undefined ? isPid1() : state.options.children === 'terminate'
}

function supervisedPids(sidecars: boolean): number[] {
  const supervised = [...state.supervised].filter(([, { sidecar = false }]) => sidecar === sidecars)
  return supervised.flatMap(([{ pid }]) => pid ?? [])
}

/** Returns for how long this one may take. */
function ask({ pid, state: letter }: Process): number {
  const { signal = 'SIGTERM', timeoutMs = Infinity } = optionsOf(pid)
  note('children', '%s to %d', signal, pid)
  send(pid, signal)
  if (letter === 'T') send(pid, 'SIGCONT') // stopped, it would not hear the other one
  return timeoutMs
}

function kill(known: Asked): void {
  if (!known.killed) note('children', 'SIGKILL to %d', known.pid)
  known.killed = true
  send(known.pid, 'SIGKILL')
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    note('children', 'cannot signal %d: %o', pid, error) // gone by now, or another user's
  }
}

function optionsOf(pid: number): SuperviseOptions {
  return [...state.supervised].find(([child]) => child.pid === pid)?.[1] ?? {}
}

function keyOf({ pid, startTime }: Pick<Process, 'pid' | 'startTime'>): string {
  return `${pid} ${startTime}`
}

function isChild(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'once' in value && 'off' in value
}
