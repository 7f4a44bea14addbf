import { constants } from 'node:os'
import { isDisabled } from '../options.ts'
import { isPid1, isWorker } from '../platform/this-process.ts'
import { setTimeout } from '../time/timers.ts'
import type { Arrival } from './arrival.ts'
import { allowOurListeners } from './our-listeners.ts'
import { belongsToApp } from './signal-owner.ts'
import { handle, listenEarly } from './stop-signals.ts'
import { stopWatchdog } from './watchdog.ts'

let early: Arrival | undefined
let isTaken = false
let isAppInCharge = false

// How long after a signal the first registration is waited for.
const registrationMs = 1000

/**
 * On import, as PID 1 only: a signal during start-up would be lost for good, because PID 1 has no default actions. So it is
 * remembered here, and the shutdown begins after the first registration.
 */
export function rememberEarlySignals(install: () => void): void {
  if (!isPid1() || isWorker() || isDisabled()) return
  allowOurListeners()
  const swallowed = swallowedBeforeImport()
  listenEarly(['SIGTERM', 'SIGINT'], (arrival) => remember(arrival, install))
  if (swallowed !== undefined) handle(swallowed)
}

/** The first signal that arrived before the first registration. Called by the first registration. */
export function takeEarlySignal(): Arrival | undefined {
  isTaken = true
  return early
}

/**
 * Node catches SIGINT and SIGTERM itself, once, until there is a listener. If only one of the two is no longer caught, that signal
 * has arrived. (If neither is, listeners have come and gone.)
 */
function swallowedBeforeImport(): NodeJS.Signals | undefined {
  const isUntouched = process.listenerCount('SIGTERM') === 0 && process.listenerCount('SIGINT') === 0
  const caught = isUntouched ? caughtSignals() : undefined
  if (caught === undefined) return undefined
  const [term, int] = [isIn(caught, 'SIGTERM'), isIn(caught, 'SIGINT')]
  if (term === int) return undefined
  return term ? 'SIGINT' : 'SIGTERM'
}

function caughtSignals(): bigint | undefined {
  try {
    const status = process.getBuiltinModule('node:fs').readFileSync('/proc/self/status', 'utf8')
    const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(status)?.[1]
    return mask === undefined ? undefined : BigInt(`0x${mask}`)
  } catch {
    return undefined // /proc is hidden, or must not be read
  }
}

function isIn(mask: bigint, signal: NodeJS.Signals): boolean {
  return ((mask >> BigInt(constants.signals[signal] - 1)) & 1n) === 1n
}

/**
 * Where nothing is registered in time, the shutdown begins all the same. But from the first signal that the app handles itself, also by
 * a `once` listener, such signals are the app's alone. A signal that arrived before the app listened to it is sent again.
 */
function remember(arrival: Arrival, install: () => void): void {
  const { signal } = arrival
  const isHandled = belongsToApp(signal)
  isAppInCharge ||= isHandled
  if (early !== undefined) return
  early = arrival
  const timer = setTimeout(() => {
    if (isTaken) return
    if (!isAppInCharge && !belongsToApp(signal)) return install()
    early = undefined
    stopWatchdog()
    if (!isHandled && belongsToApp(signal)) process.kill(process.pid, signal)
  }, registrationMs)
  if (isHandled) timer.unref()
}
