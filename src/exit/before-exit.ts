import { debug } from '../log.ts'
import { isWorker } from '../platform/this-process.ts'
import type { Running } from '../state.ts'
import { performance } from '../time/timers.ts'
import { pause } from '../time/wait.ts'

let ours: (() => void) | undefined
let whenEmpty: ReadonlyMap<string, number> = new Map()

const longestWaitMs = 1000
const pollMs = 5

/** Calls the listener when the event loop runs empty. */
export function listenForEmptyLoop(listener: () => void): void {
  if (isWorker()) return
  ours = listener
  process.on('beforeExit', listener)
}

/** Called when the shutdown of an empty event loop begins: what is there now does not keep the loop alive. */
export function countWhenEmpty(): void {
  void [process.stdout, process.stderr] // each is opened when it is first asked for, and a pipe counts from then on
  whenEmpty = countResources()
}

/** The kinds of the resources that keep the event loop alive now, and were not there when it was empty. */
export function addedSinceEmpty(): string[] {
  const kinds = [...countResources()]
  const added = kinds.filter(([kind, count]) => count > (whenEmpty.get(kind) ?? 0))
  return (added.length > 0 ? added : kinds).map(([kind]) => kind)
}

/**
 * Tracers and analytics send their last data on 'beforeExit', which `process.exit` skips. So its listeners are called here, and what
 * they start is awaited, as the event loop would do.
 */
export async function emitBeforeExit({ clock }: Running, code: number): Promise<void> {
  const listeners = process.rawListeners('beforeExit').filter((listener) => listener !== ours)
  const endsAt = Math.min(clock.deadline, performance.now() + longestWaitMs)
  if (listeners.length === 0 || performance.now() >= endsAt) return
  debug('exit', "'beforeExit' has %d listeners", listeners.length)
  await pause(pollMs)
  // A listener that calls `process.exit()` exits with this code.
  if (code !== 0) process.exitCode = code
  const before = countResources()
  for (const listener of listeners) callLater(listener, code)
  do await pause(pollMs)
  while (performance.now() < endsAt && hasMore(countResources(), before))
}

/** Each listener gets a tick of its own. So an error that it throws is an uncaught one, and the others run. */
function callLater(listener: Function, code: number): void {
  process.nextTick(() => Reflect.apply(listener, process, [code]))
}

/** What keeps the event loop alive, by its kind. `emitBeforeExit` counts twice after the same pause, because its timer counts too. */
function countResources(): Map<string, number> {
  const counts = new Map<string, number>()
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  return counts
}

function hasMore(now: Map<string, number>, before: Map<string, number>): boolean {
  return [...now].some(([kind, count]) => count > (before.get(kind) ?? 0))
}
