import type { AddressInfo } from 'node:net'
import { native } from '../native.ts'
import { performance } from '../time/timers.ts'
import { pause } from '../time/wait.ts'

/**
 * Waits until clients have received what was sent to them on connections that are closed here: when PID 1 exits, its network may end
 * with it. Clients that take nothing for `patienceMs` are not waited for.
 */
export async function waitForDelivery({ port, family }: AddressInfo, patienceMs: number, capMs: number): Promise<void> {
  const until = performance.now() + capMs
  let least = Infinity
  let since = 0
  for (;;) {
    const now = performance.now()
    const bytes = native()?.undelivered(port, family === 'IPv6' ? 6 : 4) ?? 0
    if (bytes < least) {
      least = bytes
      since = now
    }
    if (bytes <= 0 || now >= until || now - since >= patienceMs) return
    await pause(pollMs)
  }
}

// Not more often, because the kernel has to go through all its sockets for each answer.
const pollMs = 5
