import assert from 'node:assert/strict'
import { assertEnded } from './helpers/report.ts'
import { asChildAndPid1, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

for (const [how, code] of [
  ['nothing more', 0],
  ['own code', 3],
  ['top-level await', 13],
  ['hook fails', 1],
  ['hook fails, own code', 3],
  ['hook sets a code', 4],
] as const) {
  asChildAndPid1(`an empty loop runs the hook and ends with ${code}: ${how}`, async (t, pid1) => {
    const ended = await start(t, 'core/empty-loop.js', { pid1, args: [how] }).ended
    assertEnded(ended, code)
    assert.match(ended.stdout, /^hook runs\nreport \{"reason":"empty event loop","signal":null,/)
    assert.equal(ended.stdout.match(/hook runs/g)?.length, 1)
    if (how.includes('hook fails')) assert.match(ended.stderr, /^pid1: .*"hook".*no such table/m)
    else assert.doesNotMatch(ended.stderr, /^pid1:/m)
  })
}

for (const [how, own, code] of [
  ['own code', '256', 1],
  ['own code', '-1', 255],
  ['own code, hook fails', '0', 1],
  ['own code, hook fails', '-2', 254],
] as const) {
  asChildAndPid1(`an empty loop ends with ${code}, as its report says: ${how} (${own})`, async (t, pid1) => {
    const ended = await start(t, 'core/empty-loop.js', { pid1, args: [how], env: { EXIT_CODE: own } }).ended
    assertEnded(ended, code)
    assert.match(ended.stdout, new RegExp(`"exitCode":${code}\\b`))
  })
}

for (const kind of ['error', 'rejection']) {
  asChildAndPid1(`an uncaught ${kind} after the hooks of an empty loop ends with 1`, async (t, pid1) => {
    const ended = await start(t, 'core/empty-loop-revived.js', { pid1, args: [kind] }).ended
    assertEnded(ended, 1)
    assert.equal(ended.stdout, 'hook runs\nrevived\n')
    assert.match(ended.stderr, /^(TypeError: not a function|Error: nobody catches)$/m)
  })
}

for (const [what, left] of [
  ['a timer', 'Timeout'],
  ['a server', 'TCPServerWrap'],
  ['a child', '(?=.*ProcessWrap)(?:(?:Process|Pipe)Wrap(?:, )?)+'],
] as const) {
  for (const code of [0, 3]) {
    asChildAndPid1(`an empty loop whose hook leaves ${what} ends with ${code} at the deadline`, async (t, pid1) => {
      const ended = await start(t, 'core/empty-loop-left.js', { pid1, args: [what, String(code)] }).ended
      assertEnded(ended, code)
      assert.match(ended.stdout, new RegExp(`"exitCode":${code}\\b`))
      assert.match(
        ended.stderr,
        new RegExp(
          `^pid1: after the event loop ran empty, the hooks left [^\n]*: ${left}\\. Close it, or call its unref\\(\\)\n$`,
        ),
      )
      assertTook(ended.ms, { under: 5000 })
    })
  }
}

asChildAndPid1('an empty loop whose hook leaves nothing that keeps it alive ends at once', async (t, pid1) => {
  const ended = await start(t, 'core/empty-loop-left.js', { pid1, args: ['an unreferenced timer'] }).ended
  assertEnded(ended, 0)
  assert.equal(ended.stderr, '')
})

asChildAndPid1('a hook that hangs in an empty loop is cut at the deadline', async (t, pid1) => {
  const ended = await start(t, 'core/empty-loop.js', { pid1, args: ['hook hangs'] }).ended
  assertEnded(ended, 124)
  assert.match(ended.stderr, /^pid1: .*"hook"/)
})

for (const [own, code] of [
  [[], 1],
  [['7'], 7],
] as const) {
  asChildAndPid1(
    `a loop that runs empty in the middle of a shutdown ends with ${code}, and a line`,
    async (t, pid1) => {
      const ended = await start(t, 'core/stuck-loop.js', { pid1, args: own }).ended
      assertEnded(ended, code)
      const line =
        'pid1: the event loop ran empty during the shutdown, so Node ended the process; not finished: "second", "first". ' +
        'What the shutdown waits for does not keep the event loop alive\n'
      assert.ok(ended.stderr.endsWith(line), ended.stderr)
      assert.equal(ended.stdout, '')
    },
  )
}

asChildAndPid1('a loop that something revives is ended by the next signal', async (t, pid1) => {
  const run = start(t, 'core/empty-loop-revived.js', { pid1 })
  await run.line(/hook runs[^]*revived/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'hook runs\nrevived\n')
  assertTook(ended.ms, { under: 2000 })
})

asChildAndPid1('a loop that something revives is ended by shutdown()', async (t, pid1) => {
  const ended = await start(t, 'core/empty-loop-revived.js', { pid1, args: ['call'] }).ended
  assertEnded(ended, 3)
  assert.equal(ended.stdout, 'hook runs\nrevived\n')
  assert.equal(ended.stderr, '')
  assertTook(ended.ms, { under: 5000 })
})

asChildAndPid1('a revived loop that ends by itself is not cut, and keeps its exit code', async (t, pid1) => {
  const ended = await start(t, 'core/empty-loop-revived-for-long.js', { pid1 }).ended
  assertEnded(ended, 9)
  assert.equal(ended.stdout, 'hook runs\nrevived\nbye\n')
})

// From Node 24 on a test that hangs keeps the process alive until its timeout, with and without this package.
const majorVersion = Number(process.versions.node.split('.')[0])

for (const [how, code] of [
  ['passes', 0],
  ['fails', 1],
  ['times out', 1],
  ...(majorVersion < 24 ? ([['hangs', 1]] as const) : []),
] as const) {
  asChildAndPid1(`a file that ${how} under node --test keeps its code`, async (t, pid1) => {
    const ended = await start(t, 'core/node-test-file.js', { pid1, nodeArgs: ['--test'], env: { HOW: how } }).ended
    assertEnded(ended, code)
    assert.match(ended.stdout, /hook runs/)
  })

  asChildAndPid1(`a test file that ${how} by itself keeps its code`, async (t, pid1) => {
    const ended = await start(t, 'core/node-test-file.js', { pid1, env: { HOW: how } }).ended
    assertEnded(ended, code)
    assert.match(ended.stdout, /hook runs/)
  })
}
