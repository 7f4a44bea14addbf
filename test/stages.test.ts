import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { stages } from '../src/stages.ts'
import { endOfStage, startClock } from '../src/time/deadline.ts'
import { assertEnded, reportIn, stop } from './helpers/report.ts'
import { asChildAndPid1, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

test('a hook that is registered any number of microtasks after another one runs', async (t) => {
  for (const tens of [0, 1, 2, 3, 4, 5, 6]) {
    const counts = Array.from({ length: tens === 6 ? 1 : 10 }, (_, ones) => tens * 10 + ones)
    await Promise.all(
      counts.map(async (microtasks) => {
        const ended = await stop(start(t, 'core/between-stages.js', { args: [String(microtasks)] }))
        assertEnded(ended, 143)
        assert.equal(ended.stdout, 'ready\nlate: intake cleanup flush\n', `${microtasks} microtasks`)
        assert.equal(ended.stderr, '')
      }),
    )
  }
})

asChildAndPid1('a hook that is registered after the last stage does not run, and one line says so', async (t, pid1) => {
  const ended = await stop(start(t, 'core/too-late.js', { pid1 }))
  assertEnded(ended, 0)
  assert.equal(ended.stderr, 'pid1: the hook "late" was registered too late, and does not run\n')
  assert.equal(ended.stdout, 'ready\n')
})

asChildAndPid1('hooks that go on registering hooks end at the deadline', async (t, pid1) => {
  const ended = await stop(start(t, 'core/too-late.js', { pid1, args: ['again and again'] }))
  assertEnded(ended, 1)
  assertTook(ended.ms, { under: 1000 })
  assert.equal(ended.stderr, 'pid1: the hook "again" was registered too late, and does not run\n')
})

for (const stage of ['intake', 'cleanup', 'flush']) {
  asChildAndPid1(`what a hook of ${stage} has started happens before the exit`, async (t, pid1) => {
    const closed = await stop(start(t, 'core/turns.js', { pid1, args: ['close', stage] }))
    assertEnded(closed, 0)
    assert.match(closed.stdout, /^close event\nclose callback\nreport /m)
    for (const way of ['forgotten promise', 'nextTick', 'setImmediate']) {
      const ended = await stop(start(t, 'core/turns.js', { pid1, args: [way, stage] }))
      // From the stage `children` on an error changes nothing but stderr.
      assertEnded(ended, stage === 'flush' ? 0 : 1)
      assert.match(ended.stderr, /Error: forgotten/)
      assert.equal(reportIn(ended).errors.length, 1)
    }
  })
}

test('the times in docs/how-it-works.md, and in its picture, are those of the code', () => {
  const [page, picture] = ['how-it-works.md', 'timeline.svg'].map((file) =>
    readFileSync(new URL(`../docs/${file}`, import.meta.url), 'utf8'),
  )
  const rows = [...(page ?? '').matchAll(/^\| .+ \| ([\d.]+) s +\| ([\d.]+) s +\|$/gm)]
  const bars = [...(picture ?? '').matchAll(/<rect x="([\d.]+)".* width="([\d.]+)" height="13" fill="#0969da"/g)]
  for (const [column, graceS] of [10, 30].entries()) {
    const clock = startClock(graceS * 1000, 0, { withoutDeadline: false, parentWaits: false, childrenFirst: false })
    const ends = stages.map(({ name }) => endOfStage(clock, name, () => true) / 1000)
    assert.deepEqual(
      rows.map((row) => Number(row[column + 1])),
      [...ends, clock.watchdogAt / 1000, graceS],
    )
    const drawn = bars.slice(column * 6, column * 6 + 6).map(([, x, width]) => Number(x) + Number(width))
    const [left, perSecond] = [150, 670 / graceS]
    assert.deepEqual(
      drawn.map((x) => Math.round((x - left) / perSecond / 0.1) / 10),
      ends,
    )
  }
})
