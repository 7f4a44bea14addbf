import assert from 'node:assert/strict'
import { assertEnded } from './helpers/report.ts'
import { asChildAndPid1, start } from './helpers/run.ts'

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

asChildAndPid1('a hook that hangs in an empty loop is cut at the deadline', async (t, pid1) => {
  const ended = await start(t, 'core/empty-loop.js', { pid1, args: ['hook hangs'] }).ended
  assertEnded(ended, 124)
  assert.match(ended.stderr, /^pid1: .*"hook"/)
})

asChildAndPid1('a loop that something revives is ended by the next signal', async (t, pid1) => {
  const run = start(t, 'core/empty-loop-revived.js', { pid1 })
  await run.line(/hook runs[^]*revived/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'hook runs\nrevived\n')
  assert.ok(ended.ms < 2000, `left after ${ended.ms} ms`)
})

asChildAndPid1(
  'a revived loop that ends by itself takes the time that it takes, and keeps its code',
  async (t, pid1) => {
    const ended = await start(t, 'core/empty-loop-revived-for-long.js', { pid1 }).ended
    assertEnded(ended, 9)
    assert.equal(ended.stdout, 'hook runs\nrevived\nbye\n')
  },
)

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
