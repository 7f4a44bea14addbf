import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { exit } from '../exit/exit.ts'
import { warn } from '../log.ts'
import { gracePeriodOfEnvironment, isDisabled, optionsOfEnvironment } from '../options.ts'
import { isPackageManager } from '../platform/init.ts'
import { isPm2 } from '../platform/pm2.ts'
import { cluster, isPid1, isWorker } from '../platform/this-process.ts'
import { recordSockets } from '../servers/cluster.ts'
import { drainEveryServer } from '../servers/register-server.ts'
import { install } from '../start/install.ts'
import { setImmediate } from '../time/timers.ts'

/**
 * What `pid1/register` does in an app that knows nothing of this package. Every Node process may inherit it. One that is not PID 1 is left
 * alone until it listens, or is the primary of a cluster: a script or a tool dies of a signal as it would have done.
 */
export function registerApp(): void {
  if (isWorker() || isPm2()) return
  if (!hasGoodVariables()) return exit(1)
  if (isDisabled()) return
  if (isPackageManager()) {
    if (isPid1()) install('package manager')
    return
  }
  recordSockets()
  drainEveryServer(installForApp)
  if (isPid1()) installForApp()
  else subscribe('child_process', watchForWorkers)
}

function installForApp(): void {
  install('app')
}

/** A worker is in the list of the cluster a turn after its process was made. */
function watchForWorkers(): void {
  setImmediate(() => {
    if (Object.keys(cluster().workers ?? {}).length === 0) return
    unsubscribe('child_process', watchForWorkers)
    installForApp()
  }).unref()
}

function hasGoodVariables(): boolean {
  try {
    optionsOfEnvironment()
    gracePeriodOfEnvironment()
    return true
  } catch (error) {
    warn((error as Error).message)
    return false
  }
}
