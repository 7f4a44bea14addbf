import type { Native } from '../../native.ts'
import { performance } from '../../time/timers.ts'
import { nextTurn, pause } from '../../time/wait.ts'

/**
 * Waits until all connections that the kernel has let through are accepted, and no more have arrived for `idleMs`. Connections in the
 * queue exist and would be lost, so the wait for them is limited by `capMs` only. A handshake (a half-made connection) may never end, so
 * the wait for handshakes takes only a part of the time. It restarts when the queue is empty, because a client that found the queue full
 * retransmits its ACK. If the queue was empty from the start, the wait is only for handshakes whose ACK may arrive at any moment, so a
 * handshake without a client costs 1.3 s at most.
 */
export async function untilAcceptQueueIsEmpty(
  part: Native,
  fds: readonly number[],
  idleMs: number,
  capMs: number,
): Promise<void> {
  const until = performance.now() + capMs
  const handshakesMs = Math.min(capMs / 4, 3000)
  const hasQueued = () => fds.some((fd) => part.queueLength(fd) > 0)
  const dueOnly = hasQueued() ? 0 : 1
  let idleSince = performance.now()
  let emptySince = idleSince
  for (;;) {
    const now = performance.now()
    const isFilled = hasQueued()
    if (isFilled) emptySince = now
    if (now >= until || now - emptySince >= handshakesMs) return
    // First the handshakes, then the queue again: a handshake that ends between the two calls is in the queue. Where the kernel
    // does not count handshakes (a sandbox without netlink), only the queue counts.
    if (isFilled || fds.some((fd) => part.handshakes(fd, dueOnly) > 0) || hasQueued()) idleSince = now
    else if (now - idleSince >= idleMs) return
    // Node accepts one connection per turn of the loop. If the kernel were asked for handshakes in every turn, Node would accept too few.
    await (isFilled ? nextTurn() : pause(1))
  }
}

/** Connections that a close now would reset: those in the queue, and handshakes if the queue is not empty. */
export function countWaiting(part: Native, fd: number): number {
  const queued = part.queueLength(fd)
  return queued > 0 ? queued + Math.max(0, part.handshakes(fd)) : 0
}
