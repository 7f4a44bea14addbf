/**
 * When each long-lived connection is asked to end: one after the other, evenly by the clock, so that not all clients reconnect at the
 * same moment.
 */
export interface Pace {
  /** Whether one more is due. */
  takeOne(now: number): boolean
  /** When to ask again, if none is due. */
  nextAt(now: number): number
}

/** From `beganAt` on, `count` connections over `ms` milliseconds. Those that were missed while the loop was blocked are due at once. */
export function newPace(count: number, ms: number, beganAt: number): Pace {
  let taken = 0
  const dueAt = () => beganAt + (ms * taken) / Math.max(1, count)
  return {
    takeOne(now) {
      const isDue = ms <= tickMs || dueAt() <= now
      if (isDue) taken++
      return isDue
    },
    nextAt: (now) => Math.max(dueAt(), now + Math.max(tickMs, ms / mostTicks)),
  }
}

/** How long to take for `count` connections: a millisecond each, unless the app says otherwise, and a third of the time at most. */
export function spreadOver(count: number, spreadMs: number | undefined, wholeMs: number): number {
  return Math.min(spreadMs ?? count, wholeMs / 3)
}

// Each look at the connections takes time too, so a few are asked together.
const tickMs = 10
const mostTicks = 200
