import type { Server } from 'node:net'
import { registerHook } from '../hooks/register-hook.ts'
import { warn } from '../log.ts'
import { isClusterWorker } from '../platform/this-process.ts'
import type { Running } from '../state.ts'
import { pause } from '../time/wait.ts'
import { spreadCloseOver } from './announce-close.ts'
import { follow } from './drain.ts'
import { drainSettings } from './drain-settings.ts'
import { waitingNetServers } from './net-server.ts'
import { countsOfReport, registeredServers } from './register-server.ts'

/** Shutdowns whose line about a shortened delay is printed. */
const shortened = new WeakSet<Running>()

/**
 * Registers a hook of the stage announce that waits for the longest `drainDelayMs` of the servers: they continue to accept until load
 * balancers have noticed that this instance is not ready any more.
 */
export function registerDrainDelay(running: Running): void {
  const accepts = ({ server }: { readonly server: Server }) => server.listening || isClusterWorker()
  const servers = registeredServers().filter(accepts)
  const others = waitingNetServers().filter(accepts)
  const wantedMs = Math.max(0, ...[...servers, ...others].map(({ options }) => drainSettings(options).drainDelayMs))
  if (wantedMs === 0) return
  registerHook({
    name: 'drainDelayMs',
    stage: 'announce',
    endsItself: true,
    hook: async (context) => {
      const delayMs = delayWithin(wantedMs, context.remainingMs(), running)
      for (const { connections, options } of servers) {
        follow(connections, drainSettings(options), countsOfReport())
        spreadCloseOver(connections, delayMs)
      }
      await pause(delayMs)
    },
  })
}

/** Shortens a delay for which there is not enough time. One line on stderr says so. */
export function delayWithin(wantedMs: number, mostMs: number, running: Running): number {
  if (wantedMs <= mostMs) return wantedMs
  const { gracePeriodMs } = running.clock
  if (!shortened.has(running) && gracePeriodMs > 0) {
    warn(
      `drainDelayMs is ${wantedMs}, but new connections are accepted for ${Math.round(mostMs)} ms only, because a grace period of ` +
        `${gracePeriodMs} ms leaves no more: set a longer one, on the platform and in PID1_GRACE_PERIOD, or a shorter drainDelayMs`,
    )
  }
  shortened.add(running)
  return mostMs
}
