import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertStoppedWell } from '../helpers/report.ts'
import { start } from '../helpers/run.ts'

void test('a drain that waits for a minute uses next to no CPU, and no memory', async (t) => {
  const run = start(t, 'servers/long-drain.js', { nodeArgs: ['--expose-gc'], args: ['58000'] })
  const ended = await run.ended
  assertStoppedWell(ended)
  const { cpuMs, heapBytes } = JSON.parse(ended.stdout) as { cpuMs: number; heapBytes: number }
  // A machine in a slow state needs 260 ms. A timer that fires every millisecond needs seconds.
  assert.ok(cpuMs < 0.01 * 57_000, `${cpuMs} ms of CPU`)
  assert.ok(heapBytes < 500_000, `${heapBytes} bytes`)
})
