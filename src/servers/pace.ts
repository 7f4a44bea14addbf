/**
 * When each long-lived connection is asked to end: one after the other, evenly by the clock, so that not all clients reconnect at the
 * same moment.
 */
export interface Pace {
  /** Whether one more is due. `left` is the number of those that were not asked yet, this one included. */
  takeOne(now: number, left: number): boolean
  /** When to look again, if none is due. */
  nextAt(now: number, left: number): number
}

/** Begins now, and takes `ms` milliseconds. Those that were missed while the loop was blocked are due at once. */
export function newPace(ms: number, beganAt: number): Pace {
  let asked = 0
  const dueAt = (left: number) => beganAt + (ms * asked) / (asked + left)
  return {
    takeOne(now, left) {
      const isDue = ms <= tickMs || now >= beganAt + ms || now >= dueAt(left)
      if (isDue) asked++
      return isDue
    },
    // Each look at the connections takes time too, so a few are asked together.
    nextAt: (now, left) => Math.max(dueAt(left), now + Math.max(tickMs, ms / mostTicks)),
  }
}

/** How long to take for `count` connections: a millisecond each, unless the app says otherwise, and a third of the time at most. */
export function spreadOver(count: number, spreadMs: number | undefined, wholeMs: number): number {
  return Math.min(spreadMs ?? count, wholeMs / 3)
}

const tickMs = 10
const mostTicks = 200
