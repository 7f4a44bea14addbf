import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { assertEnded } from './report.ts'
import { type Ended, type Run, start } from './run.ts'
import { assertTook } from './time.ts'

/** The deadline is 750 ms after the signal, the watchdog's time 875 ms. */
export const gracePeriodMs = 1000

export interface Blocked {
  readonly how: string
  readonly when: string
  readonly ms?: number
  readonly gracePeriodMs?: number
  readonly signals?: readonly string[]
  readonly byHand?: boolean
}

export function startBlocked(t: TestContext, pid1: boolean, blocked: Blocked, nodeArgs: readonly string[] = []): Run {
  return start(t, 'core/blocked.js', { pid1, nodeArgs, args: [JSON.stringify({ gracePeriodMs, ...blocked })] })
}

export async function stop(run: Run, signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
  await run.line(/ready/)
  run.signal(signal)
  return run.ended
}

/** Not before the watchdog's time. The upper bound is generous, because the machine may be busy. */
export function assertEndedByWatchdog(ended: Ended, during: string): void {
  assertEnded(ended, 124)
  assert.match(ended.stderr, new RegExp(`^pid1: ended with 124: the event loop was blocked for \\d+ ms, ${during}\\n$`))
  assertTook(ended.ms, { over: 750, under: 2000 })
}
