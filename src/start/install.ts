import { keepReaping } from '../children/reaper.ts'
import { listenForEmptyLoop } from '../exit/before-exit.ts'
import { listenForExit } from '../exit/early-exit.ts'
import { listenForUncaught } from '../exit/uncaught.ts'
import { warnOfAbsence } from '../native.ts'
import { optionsOfEnvironment } from '../options.ts'
import { gracePeriod } from '../platform/choose-grace-period.ts'
import { listenForShutdownMessage } from '../platform/pm2.ts'
import { openSpareDescriptor } from '../platform/processes.ts'
import { isPid1, isWorker } from '../platform/this-process.ts'
import { watchCluster } from '../servers/cluster.ts'
import { takeEarlySignal } from '../signals/early-signals.ts'
import { allowOurListeners, deferAllOthers } from '../signals/our-listeners.ts'
import { listenForStopSignals } from '../signals/stop-signals.ts'
import { prepareWatchdog } from '../signals/watchdog.ts'
import { type State, state } from '../state.ts'
import { setImmediate } from '../time/timers.ts'
import { beginOnce, onEmptyLoop, onFatalSignal, onShutdownMessage, onStopSignal, onUncaughtError } from './triggers.ts'
import { warnOfInit } from './warn-of-init.ts'

let installed = false

/**
 * Installs what the first registration needs, once. Every public function that registers something calls it. Importing alone changes
 * nothing, except as PID 1 (signals/early-signals.ts). `unaware` is for `pid1/register` only.
 */
export function install(unaware?: State['unaware']): void {
  // The process knows this package from its own first call on.
  if (unaware === undefined || !installed) state.unaware = unaware
  if (installed) return
  // Throws early, where a variable is invalid.
  state.options = { ...optionsOfEnvironment(), ...state.options }
  gracePeriod()
  allowOurListeners()
  if (isPid1() && !isWorker()) warnOfAbsence()
  if (!isWorker()) warnOfInit()
  listenForStopSignals({ onStopSignal, onFatalSignal })
  listenForUncaught(onUncaughtError)
  listenForEmptyLoop(onEmptyLoop)
  listenForExit()
  watchCluster(beginOnce)
  if (!isWorker()) listenForShutdownMessage(onShutdownMessage)
  prepareWatchdog()
  openSpareDescriptor()
  keepReaping()
  deferAllOthers()
  installed = true
  // A turn later, because more registrations may follow in this one.
  const early = takeEarlySignal()
  if (early !== undefined) setImmediate(() => onStopSignal(early))
}
