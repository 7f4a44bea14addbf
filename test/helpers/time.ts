import assert from 'node:assert/strict'

/** Every upper bound of a time in the tests is multiplied by it: `PID1_TEST_SLOWNESS=3` is for a slow machine. */
const slowness = Number(process.env['PID1_TEST_SLOWNESS'] ?? 1)
if (!(slowness >= 1)) throw new Error(`Expected PID1_TEST_SLOWNESS to be 1 or more, got "${slowness}"`)

export interface Bounds {
  /** Not multiplied: nothing happens earlier on a slow machine. */
  readonly over?: number
  readonly under?: number
}

/** Asserts that something took a time between these bounds, all in milliseconds. */
export function assertTook(ms: number, { over, under }: Bounds): void {
  const most = under === undefined ? undefined : under * slowness
  const expected = [...(over === undefined ? [] : [`over ${over}`]), ...(most === undefined ? [] : [`under ${most}`])]
  const isBetween = ms > (over ?? -Infinity) && ms < (most ?? Infinity)
  assert.ok(isBetween, `Expected a time ${expected.join(' and ')} ms, got ${ms} ms`)
}
