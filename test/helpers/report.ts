import assert from 'node:assert/strict'
import type { ShutdownReport } from 'pid1'
import type { Ended } from './run.ts'

/** The report that a fixture printed with `sayReport`. */
export function reportIn(ended: Ended): ShutdownReport {
  const json = /^report (.*)$/m.exec(ended.stdout)?.[1]
  assert.ok(json !== undefined, `No report:\n${ended.stdout}\n${ended.stderr}`)
  return JSON.parse(json) as ShutdownReport
}

/** Ended by itself with this code, not by a signal. */
export function assertEnded(ended: Ended, code: number): void {
  const { signal, stdout, stderr } = ended
  assert.deepEqual({ code: ended.code, signal }, { code, signal: null }, `${stdout}\n${stderr}`)
}

/** Ended with 0, and without a word on stderr. */
export function assertStoppedWell(ended: Ended): void {
  assertEnded(ended, 0)
  assert.equal(ended.stderr, '')
}
