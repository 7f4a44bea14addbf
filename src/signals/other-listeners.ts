import type { ConfigureOptions } from '../options.ts'
import { debug } from '../log.ts'
import { isInPackage, keepCallSite } from '../platform/call-site.ts'
import { isWorker } from '../platform/this-process.ts'
import { type OtherListener, state } from '../state.ts'
import { isOurs } from './signal-owner.ts'

type Listener = (...args: unknown[]) => unknown
/** What `once` and this file register: `listeners()` and `removeListener()` understand `listener`. */
type Registered = Listener & { readonly listener?: Listener }

/** Listeners with this mark belong to a copy of this package, which must not wait for another copy. */
const mark = Symbol.for('pid1 listener')
const anyEvent: NodeJS.EventEmitter = process

/** Where each listener was registered; undefined where Node itself has registered it. */
const places = new WeakMap<object, () => string | undefined>()
/** Enough to pass over those of Node's events, and of a wrapper of `process.on`. */
const framesKept = 10
let isReplacing = false

/** Marks a listener of our own. */
export function markAsOurs<Marked extends object>(listener: Marked): Marked {
  return Object.assign(listener, { [mark]: true })
}

/** Remembers where a listener is registered. `handler` is the listener of 'newListener' that was called. */
export function rememberPlace(event: string | symbol, listener: unknown, handler: Function): void {
  if (isReplacing || typeof event !== 'string' || !event.startsWith('SIG')) return
  if (typeof listener === 'function' && !isMarked(listener)) places.set(listener, keepCallSite(handler, framesKept))
}

/**
 * The listeners of packages for a signal that ends this process: an exporter, a browser driver or a framework would close what requests
 * still need, or exit. So each is exchanged for one that waits for the end of the stage flush. `configure({ otherListeners })` says for
 * which listeners that holds.
 */
export function deferOthers(signal: NodeJS.Signals): void {
  if (isWorker() || isReplacing || !isOurs(signal)) return
  // tsx hides its own listener from `listeners()`.
  const visible = new Set<unknown>(process.listeners(signal))
  const all = anyEvent.rawListeners(signal) as Registered[]
  for (const original of new Set(all.map(originalOf))) {
    // A function may be registered several times, and Node removes one by the function only, the last one.
    const registered = all.filter((one) => originalOf(one) === original)
    if (visible.has(original) && !registered.every(isMarked) && waits(original)) replace(signal, original, registered)
  }
}

function replace(signal: NodeJS.Signals, original: Listener, all: readonly Registered[]): void {
  debug('signals', 'the %s listener of %s waits for the end of the stage flush', signal, shownPlaceOf(original))
  isReplacing = true
  try {
    for (const _ of all) anyEvent.removeListener(signal, original)
    for (const registered of all) anyEvent.on(signal, isMarked(registered) ? registered : deferring(signal, registered))
  } finally {
    isReplacing = false
  }
}

/** The listener that takes the place of another one. */
function deferring(signal: NodeJS.Signals, registered: Registered): Registered {
  const original = originalOf(registered)
  const [place, isOfPackage] = [shownPlaceOf(original), isOfPackageOrEarlier(original)]
  // Calls what was registered, so that a `once` listener is called once.
  const isOnce = registered !== original
  const callOriginal = (args: unknown[]) => {
    if (isOnce) anyEvent.removeListener(signal, ours)
    return registered.apply(process, args)
  }
  const ours: Registered = markAsOurs(
    Object.assign(
      (...args: unknown[]) => onSignal(ours, { signal, place, isOfPackage, call: () => callOriginal(args) }, original),
      {
        listener: original,
      },
    ),
  )
  return ours
}

function originalOf(registered: Registered): Listener {
  return registered.listener ?? registered
}

/** Our own listener runs first, so the shutdown has begun if the signal starts one. */
function onSignal(ours: object, listener: Omit<OtherListener, 'isRegistered'>, original: Listener): unknown {
  const { running } = state
  // At the app's own end a further signal is the app's, too: many exit at once at the second one.
  if (running === undefined || running.endOfApp !== undefined || !waits(original)) return listener.call()
  if (running.otherListeners === 'called' || running.over) return undefined
  const isRegistered = () => anyEvent.rawListeners(listener.signal).some((registered) => registered === ours)
  // Once, however many signals arrive.
  if (!running.otherListeners.has(ours)) running.otherListeners.set(ours, { ...listener, isRegistered })
}

function waits(listener: Listener): boolean {
  const usual = state.unaware === undefined ? 'libraries' : 'afterDrain'
  const mode: ConfigureOptions['otherListeners'] = state.options.otherListeners ?? usual
  if (mode === 'atOnce') return false
  const place = placeOf(listener)
  if (place !== undefined && /[\\/]signal-exit[\\/]/.test(place)) return false
  return mode === 'afterDrain' || isOfPackageOrEarlier(listener)
}

function isOfPackageOrEarlier(listener: Listener): boolean {
  const place = placeOf(listener)
  return place === undefined || isInPackage(place)
}

/** Empty where Node itself has registered the listener, undefined where it was there before this package. */
function placeOf(listener: Listener): string | undefined {
  const place = places.get(listener)
  return place === undefined ? undefined : (place() ?? '')
}

/** The name of a package begins its place: `puppeteer/lib/launch.js:12:3`. */
function shownPlaceOf(listener: Listener): string {
  const place = placeOf(listener)
  if (place === undefined)
    return `${listener.name === '' ? 'code' : listener.name}, registered before pid1 was imported`
  return place === '' ? 'Node' : place.replace(/^.*[\\/]node_modules[\\/]/, '')
}

/** Whether a listener belongs to a copy of this package. */
export function isMarked(listener: object): boolean {
  return mark in listener
}
