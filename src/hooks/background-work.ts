import { Pid1Error } from '../errors.ts'
import type { HookContext } from '../hook.ts'
import { listOf, quoted, safeName, warnOf } from '../log.ts'
import { keepCallSite } from '../platform/call-site.ts'
import { type Running, type RunningStage, state } from '../state.ts'
import { endOfStage } from '../time/deadline.ts'
import { setImmediate } from '../time/timers.ts'
import { isPending, nextTurn, within, withResolvers } from '../time/wait.ts'
import { runHook } from './run-hook.ts'
import { hasWork } from './run-in-turn.ts'

/** A promise that the app has handed over. */
interface Work {
  readonly name: string | undefined
  /** Where `waitUntil` was called. */
  readonly callSite: () => string | undefined
  /**
   * Weak, because nothing but a reaction tells when a promise settles, and with a reaction of ours no rejection would be unhandled. A
   * promise that can still settle is held by what will settle it.
   */
  readonly promise: WeakRef<Promise<unknown>>
}

/** Handed over before the shutdown. */
let known: Work[] = []
/** When there are more, those that have gone are removed. */
let mostKnown = 1000
/** Of these, the ones that are being looked at. */
let unchecked: Work[] = []
const longestList = 20_000
/** By name. An app may have a name for each piece of work, so that not all are kept. */
const callSites = new Map<string, () => string | undefined>()
const mostCallSites = 1000
/** So many are adopted in a turn of the event loop. */
const mostAtOnce = 1000
/** What the shutdown waits for. */
const open = new Set<Work>()
let adopted = Promise.resolve()
let allSettled = withResolvers<void>()

/** Remembers a promise. `api` is the function that the app has called. */
export function addBackgroundWork(promise: Promise<unknown>, name: string | undefined, api: Function): void {
  const work = { name, callSite: callSiteOfName(name, api), promise: new WeakRef(promise) }
  const { running } = state
  if (running !== undefined && !running.over) return follow(work, promise, running, () => false)
  if (known.push(work) > mostKnown) removeGone()
}

/** A settled promise is gone when the garbage collector has run. Where it does not run for long, each promise is looked at. */
function removeGone(): void {
  known = known.filter(({ promise }) => promise.deref() !== undefined)
  mostKnown = Math.max(1000, 2 * known.length)
  if (known.length < longestList || unchecked.length > 0) return
  unchecked = known
  known = []
  removeSettled()
}

/** A few in a turn of the event loop, because a look takes some microseconds. */
function removeSettled(): void {
  for (const work of unchecked.splice(-mostAtOnce)) if (isPending(work.promise.deref())) known.push(work)
  if (unchecked.length > 0) setImmediate(removeSettled).unref()
}

/** To keep a stack takes longer than all the rest, so that is done once for each name. */
function callSiteOfName(name: string | undefined, api: Function): () => string | undefined {
  if (name === undefined) return keepCallSite(api, 1)
  const callSite = callSites.get(name) ?? keepCallSite(api, 1)
  if (callSites.size < mostCallSites) callSites.set(name, callSite)
  return callSite
}

/**
 * A shutdown begins: follows the promises that are there. A turn later, because a promise that was rejected just before must still
 * become an unhandled rejection. Where the event loop has run empty, nothing is left that could settle one.
 */
export function adoptBackgroundWork(running: Running): void {
  const works = running.cause.trigger === 'empty event loop' ? [] : [...known, ...unchecked]
  known = []
  unchecked = []
  if (works.length > 0) adopted = adopt(works, running)
}

/** There may be thousands, which must not block the event loop. */
async function adopt(works: Work[], running: Running): Promise<void> {
  while (works.length > 0) {
    await nextTurn()
    let areOld = true
    for (const work of works.splice(-mostAtOnce)) {
      const promise = work.promise.deref()
      if (promise !== undefined) follow(work, promise, running, () => areOld)
    }
    // The reactions of those that have settled before the shutdown run before this.
    queueMicrotask(() => (areOld = false))
  }
}

/** At the end of a stage: waits for the promises that have not settled, within the time of the stage. */
export async function awaitBackgroundWork(stage: RunningStage, running: Running): Promise<void> {
  await adopted
  if (open.size === 0) return
  const endsAt = endOfStage(running.clock, stage.name, hasWork)
  const hook = { name: 'waitUntil', stage: stage.name, endsItself: true, hook: untilSettled }
  await runHook(hook, stage, running, endsAt)
}

async function untilSettled(context: HookContext): Promise<void> {
  while (open.size > 0 && context.remainingMs() > 0) {
    allSettled = withResolvers()
    await within(context.remainingMs(), allSettled.promise, () => {})
  }
  if (open.size === 0) return
  const cut = [...open]
  open.clear()
  throw new Pid1Error('PID1_HOOK_TIMEOUT', `was cut, with work that has not finished: ${listOf(cut, labelOf)}`)
}

/** Not by an async function for each, because there may be thousands. */
function follow(work: Work, promise: Promise<unknown>, running: Running, isOld: () => boolean): void {
  open.add(work)
  const settle = () => {
    open.delete(work)
    if (open.size === 0) allSettled.resolve()
  }
  const fail = (error: unknown) => {
    if (open.has(work) && !isOld()) recordFailure(work, error, running)
    settle()
  }
  try {
    void Promise.prototype.then.call(promise, settle, fail) // the app may have replaced the promise's own `then`
  } catch {
    settle() // its `constructor` throws, so that nobody can wait for it
  }
}

function recordFailure(work: Work, error: unknown, running: Running): void {
  warnOf(`the work ${labelOf(work)} failed`, error)
  running.failed = true
  if (!running.errors.includes(error)) running.errors.push(error)
}

/** Such as `"mail" (/app/src/mail.js:12:3)`. */
function labelOf({ name, callSite }: Work): string {
  const place = `(${safeName(callSite() ?? 'at an unknown place')})`
  return name === undefined ? place : `${quoted(name)} ${place}`
}
