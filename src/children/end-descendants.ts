import { debug, warn } from '../log.ts'
import { isInFront } from '../platform/init.ts'
import { type Process, sendSignal } from '../platform/processes.ts'
import type { StageName } from '../stages.ts'
import { type Running, state } from '../state.ts'
import { performance } from '../time/timers.ts'
import { pause } from '../time/wait.ts'
import { findDescendants, keyOf, optionsOf } from './descendants.ts'
import { limitNewChildren } from './late-children.ts'

/** The processes that each shutdown has asked to end. Its stages share them, so that no process is counted twice. */
const askedBy = new WeakMap<Running, Map<string, Asked>>()

/** The processes that one line has named because they may not be signalled. */
const warnedOf = new Set<string>()

/**
 * Sends SIGTERM (or what was configured) to every descendant, waits, and sends SIGKILL to those that are left when their time is up; where
 * `kills` is false, a later stage ends them. When PID 1 exits, the kernel kills all that remain with SIGKILL.
 */
export async function endDescendants(
  stage: StageName,
  running: Running,
  { at: endsAt, kills }: { readonly at: number; readonly kills: boolean },
): Promise<void> {
  const asked = askedIn(running)
  const dyingMs = dyingMsOf(running)
  const spareUntil = endsAt - Math.min(1000, (endsAt - performance.now()) / 2)
  let stopLimit: (() => void) | undefined
  let isFirstScan = true
  for (;;) {
    const startedAt = performance.now()
    const { children, sidecars } = findDescendants()
    stopLimit ??= limitNewChildren(children.length + sidecars.length)
    const left = stage === 'children' ? children : [...children, ...sidecars] // a hook of flush may have started a child
    const spared = startedAt < spareUntil ? startedByAsked(left, asked) : new Set<Process>()
    const ofItsScript = startedAt < endsAt ? ofScript(left, asked, isFirstScan, startedAt < spareUntil) : []
    for (const each of ofItsScript) spared.add(each)
    isFirstScan = false
    const awaited = left.filter((each) => {
      if (spared.has(each)) return true
      const known = asked.get(keyOf(each)) ?? ask(each, endsAt, asked)
      if (kills && startedAt >= known.endsAt) kill(known)
      return !known.refused && (known.killedAt === undefined || startedAt < known.killedAt + dyingMs)
    })
    warnOfRefused(asked)
    // A process that is not awaited may go on to start new ones, so the time is limited too.
    if (awaited.length === 0 || startedAt >= endsAt + (kills ? dyingMs : 0)) break
    // Scanning is limited to a fifth of the time, however many processes there are.
    await pause(Math.max(scanMs, 4 * (performance.now() - startedAt)))
  }
  stopLimit?.()
  const counted = [...asked.values()].filter(({ refused }) => !refused)
  running.children.killed = counted.filter(({ killedAt }) => killedAt !== undefined).length
  running.children.terminated = counted.length - running.children.killed
}

/**
 * The processes that were started by one that was already asked to end: they are a part of its clean-up. They are asked when that
 * process has ended, or when little time is left. Parents come first in the list.
 */
function startedByAsked(left: readonly Process[], asked: ReadonlyMap<string, Asked>): Set<Process> {
  const isAsked = (each: Process) => asked.get(keyOf(each))?.refused === false
  const cleaning = new Set(left.filter(isAsked).map(({ pid }) => pid))
  const spared = new Set<Process>()
  for (const each of left) {
    if (asked.has(keyOf(each)) || !cleaning.has(each.parent)) continue
    spared.add(each)
    cleaning.add(each.pid)
  }
  return spared
}

/**
 * Where PID 1 is a package manager: the processes that are not asked to end. The shells and package managers in front of the app end by
 * themselves, with the code of the app. What the script starts after the app may run while there is time.
 */
function ofScript(
  left: readonly Process[],
  asked: ReadonlyMap<string, Asked>,
  isFirstScan: boolean,
  hasTime: boolean,
): Process[] {
  if (state.unaware !== 'package manager') return []
  const inFront = new Set(left.map(({ pid }) => pid).filter(isInFront))
  const isOfScript = ({ parent }: Process) => parent === process.pid || inFront.has(parent) // Yarn 4 has a shell of its own
  return left.filter(
    (each) => inFront.has(each.pid) || (hasTime && !isFirstScan && isOfScript(each) && !asked.has(keyOf(each))),
  )
}

interface Asked {
  readonly pid: number
  readonly name: string
  readonly endsAt: number
  killedAt: number | undefined
  /** This process is not permitted to signal it, for instance because it belongs to another user. */
  refused: boolean
}

const scanMs = 10
// A process that was sent SIGKILL is gone in a moment, unless it hangs in the kernel.
const longestDyingMs = 200

function dyingMsOf({ clock: { deadline, watchdogAt } }: Running): number {
  return deadline === Infinity ? longestDyingMs : Math.min(longestDyingMs, (watchdogAt - deadline) / 2)
}

function askedIn(running: Running): Map<string, Asked> {
  const asked = askedBy.get(running) ?? new Map<string, Asked>()
  askedBy.set(running, asked)
  return asked
}

function ask(found: Process, endsAt: number, asked: Map<string, Asked>): Asked {
  const { pid, name, state: letter } = found
  const { signal = 'SIGTERM', timeoutMs = Infinity } = optionsOf(pid)
  debug('children', '%s to %d', signal, pid)
  const known: Asked = {
    pid,
    name,
    endsAt: Math.min(endsAt, performance.now() + timeoutMs),
    killedAt: undefined,
    refused: !sendSignal(pid, signal),
  }
  if (letter === 'T') sendSignal(pid, 'SIGCONT') // a stopped process does not handle the other signal
  asked.set(keyOf(found), known)
  return known
}

function kill(known: Asked): void {
  if (known.refused) return
  if (known.killedAt === undefined) debug('children', 'SIGKILL to %d', known.pid)
  known.killedAt ??= performance.now()
  known.refused = !sendSignal(known.pid, 'SIGKILL')
}

/** Warns once of each process, however many stages and shutdowns find it. */
function warnOfRefused(asked: Map<string, Asked>): void {
  const fresh = [...asked].filter(([key, { refused }]) => refused && !warnedOf.has(key))
  if (fresh.length === 0) return
  for (const [key] of fresh) warnedOf.add(key)
  const names = fresh.slice(0, 10).map(([, { pid, name }]) => `${JSON.stringify(name)} (pid ${pid})`)
  if (fresh.length > names.length) names.push(`${fresh.length - names.length} more`)
  warn(`it is not permitted to signal ${names.join(', ')}: the shutdown does not wait for them`)
}
