import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertEnded, assertStoppedWell, complaints, hooksOf, reportIn, stop } from './helpers/report.ts'
import { asChildAndPid1, type Ended, type Run, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

const fixture = /background-work\.js:\d+:\d+/.source

for (const scenario of ['waits', 'unnamed', 'its then was replaced']) {
  asChildAndPid1(`waitUntil: the shutdown waits, before the cleanup: ${scenario}`, async (t, pid1) => {
    const ended = await stop(startWith(t, scenario, pid1))
    assertStoppedWell(ended)
    assert.match(ended.stdout, /ready\nwork done\ncleanup\nreport/)
    assert.deepEqual(
      hooksOf(reportIn(ended), 'intake').map(({ name, outcome }) => [name, outcome]),
      [['waitUntil', 'done']],
    )
  })
}

test('waitUntil: a promise whose constructor throws does not affect the others', async (t) => {
  const ended = await stop(startWith(t, 'its constructor throws'))
  assertStoppedWell(ended)
  assert.match(ended.stdout, /ready\nwork done\nwork done\ncleanup\nreport/)
})

test('waitUntil returns its promise', async (t) => {
  assert.match((await stop(startWith(t, 'waits'))).stdout, /^true\nready/)
})

test('waitUntil: the promise of another library is asked once, when it is handed over', async (t) => {
  const ended = await stop(startWith(t, 'thenable'))
  assertStoppedWell(ended)
  assert.match(ended.stdout, /^true\nready\nlazy work done, asked 1 time\ncleanup\n/)
})

asChildAndPid1('waitUntil: work that does not finish is cut and named, with its line of code: 124', async (t, pid1) => {
  const ended = await stop(startWith(t, 'hangs', pid1, ['1000']))
  assertEnded(ended, 124)
  assertTook(ended.ms, { over: 300, under: 1000 })
  const job = (index: number) => `"job ${index}" \\([^)]*${fixture}\\)`
  const jobs = Array.from({ length: 10 }, (_, index) => job(index)).join(', ')
  assert.match(
    ended.stderr,
    new RegExp(`^pid1: waitUntil was cut, with work that has not finished: ${jobs} and 2 more\n$`),
  )
  assert.match(ended.stdout, /cleanup\n/)
})

test('waitUntil: work without a name is named by its line of code', async (t) => {
  const ended = await stop(startWith(t, 'hangs without a name', false, ['1000']))
  assertEnded(ended, 124)
  assert.match(ended.stderr, new RegExp(`not finished: \\([^)]*${fixture}\\)\n$`))
})

for (const scenario of ['fails', 'fails, and the app handles it']) {
  asChildAndPid1(`waitUntil: work that ${scenario}, during a shutdown: 1`, async (t, pid1) => {
    const ended = await stop(startWith(t, scenario, pid1))
    assertEnded(ended, 1)
    assert.match(ended.stderr, new RegExp(`^pid1: the work "mail" \\([^)]*${fixture}\\) failed: Error: of the work\n`))
    assert.equal(complaints(ended).length, 1)
    assert.equal(reportIn(ended).errors.length, 1)
  })
}

test('waitUntil: a rejection that the app has handled before the shutdown says nothing', async (t) => {
  assertStoppedWell(await stop(startWith(t, 'failed before, and the app has handled it')))
})

for (const scenario of ['fails before', 'fails as shutdown() is called']) {
  asChildAndPid1(`waitUntil: a rejection stays as unhandled as it was: work that ${scenario}`, async (t, pid1) => {
    const ended = await startWith(t, scenario, pid1).ended
    assertEnded(ended, 1)
    assert.match(ended.stderr, /Error: of the work/)
    assert.deepEqual(complaints(ended), [])
  })
}

asChildAndPid1('waitUntil: work that a request hands over during the shutdown is awaited', async (t, pid1) => {
  const ended = await stop(startWith(t, 'is handed over during the shutdown', pid1))
  assertStoppedWell(ended)
  assert.match(ended.stdout, /ready\nwork done\ncleanup\n/)
})

test('waitUntil: work that a cleanup hook hands over is awaited before the next stage', async (t) => {
  const ended = await stop(startWith(t, 'is handed over in cleanup'))
  assertStoppedWell(ended)
  assert.match(ended.stdout, /cleanup\nwork done\nflush\n/)
})

asChildAndPid1('waitUntil: where the event loop runs empty, nothing is left to wait for', async (t, pid1) => {
  const ended = await startWith(t, 'never settles, and the loop runs empty', pid1).ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 1500 })
})

test('waitUntil: process.exit during the wait names it', async (t) => {
  const ended = await stop(startWith(t, 'exits'))
  assertEnded(ended, 7)
  assert.match(ended.stderr, /process\.exit\(7\) .*not finished: "waitUntil", "cleanup"/)
})

function startWith(t: Parameters<typeof start>[0], scenario: string, pid1: boolean = false, more: string[] = []): Run {
  return start(t, 'core/background-work.js', { pid1, args: [scenario, ...more] })
}

test('waitUntil with 10 000 promises blocks the event loop for less than 50 ms', async (t) => {
  const ended: Ended = await stop(start(t, 'core/many-promises.js'))
  assertStoppedWell(ended)
  const longestMs = Number(/^longest block (\d+)/m.exec(ended.stdout)?.[1])
  assert.ok(longestMs < 50, `${longestMs} ms`)
})
