import { clearTimeout, performance, setImmediate, setTimeout } from '../time/timers.ts'

/** One scan of all connections. */
export interface Scan {
  /** All bytes that had arrived by then have been read. Nothing is concluded from later times: the loop may have been blocked since. */
  readonly asOf: number
  /** When long-lived connections are asked to end at the latest. */
  readonly endLongLivedBy: number
  /** When idle connections may be closed: not while requests still arrive. */
  readonly mayCloseAt: number
  readonly allowance: Allowance
  /** When the next scan is due, if nothing changes before. */
  nextAt: number
}

/** How many connections may be closed in one scan: a few per millisecond of the clock, never in bulk. */
interface Allowance {
  recentlyUsed: number
  /** Idle for over ten seconds: a client hardly uses one of them at this very moment. */
  longIdle: number
  /** HTTP/2: a stream that arrives now is one that the client may send again. */
  sessions: number
}

/** Returns false when that time has come. Otherwise the next scan is due at that time at the latest. */
export function postponeUntil(scan: Scan, time: number): boolean {
  if (time <= scan.asOf) return false
  scan.nextAt = Math.min(scan.nextAt, time)
  return true
}

/** Takes one from the allowance. Returns false where it is used up: the next scan is due at once. */
export function takeAllowance(scan: Scan, which: keyof Allowance): boolean {
  if (scan.allowance[which]-- > 0) return true
  scan.nextAt = scan.asOf
  return false
}

/** Returns a function that gives each scan its allowance, by the number of connections and the time since the scan before. */
export function newAllowances(beganAt: number): (size: number, asOf: number, sleptUntil: number) => Allowance {
  let lastAt = beganAt
  let largest = 0
  return (size, asOf, sleptUntil) => {
    // Time in which the loop was blocked or slept is not made up for in bulk.
    const ms = Math.min(asOf - Math.max(lastAt, Math.min(sleptUntil, asOf) - 1), 10)
    lastAt = asOf
    largest = Math.max(largest, size)
    const few = Math.ceil(ms * Math.max(4, largest / 200))
    return { recentlyUsed: few, sessions: few, longIdle: Math.ceil(ms * Math.max(400, largest / 5)) }
  }
}

export interface ScanTimer {
  /**
   * Waits until that time and then for a whole poll phase, in which all bytes are read that have arrived by then. Resolves with the time
   * at which the poll phase began.
   */
  wait(time: number): Promise<number>
  /** Something has changed: scan in a moment, so that many changes cost one scan. */
  scanSoon(ms: number): void
  scanNow(): void
}

/** A timer and then `setImmediate`: between the two lies a poll phase, even when the timer is late because the loop was blocked. */
export function newScanTimer(): ScanTimer {
  let timer: NodeJS.Timeout | undefined
  let timerAt = Infinity
  let resolve: (asOf: number) => void = () => {}
  const set = (time: number) => {
    clearTimeout(timer)
    timerAt = time
    timer = setTimeout(onTimer, Math.min(Math.max(0, time - performance.now()), longestTimeoutMs))
  }
  const onTimer = () => {
    const asOf = performance.now()
    timer = undefined
    setImmediate(() => resolve(asOf))
  }
  return {
    wait: (time) =>
      new Promise((resolvePromise) => {
        resolve = resolvePromise
        set(time)
      }),
    scanSoon(ms) {
      const soon = performance.now() + ms
      if (timer !== undefined && soon < timerAt) set(soon)
    },
    scanNow() {
      clearTimeout(timer)
      timer = undefined
      resolve(performance.now())
    },
  }
}

// With a longer timeout a timer fires at once.
const longestTimeoutMs = 2 ** 31 - 1
