import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { assertEnded } from './helpers/report.ts'
import { asChildAndPid1, type Ended, fixturePath, type Run, start } from './helpers/run.ts'

asChildAndPid1('a good shutdown prints nothing', async (t, pid1) => {
  const run = start(t, 'core/quiet.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.deepEqual([ended.stdout, ended.stderr], ['ready\n', ''])
})

asChildAndPid1('DEBUG=pid1:* tells what happens, on stderr', async (t, pid1) => {
  const run = start(t, 'core/quiet.js', { pid1, env: { DEBUG: 'pid1:*' } })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'ready\n')
  for (const told of ['SIGTERM', 'intake', 'cleanup', 'flush']) assert.match(ended.stderr, new RegExp(`pid1:.*${told}`))
})

asChildAndPid1("DEBUG for another package's lines prints nothing of ours", async (t, pid1) => {
  const run = start(t, 'core/quiet.js', { pid1, env: { DEBUG: 'express:*' } })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.deepEqual([ended.stdout, ended.stderr], ['ready\n', ''])
})

asChildAndPid1('a bad shutdown prints one line for each problem', async (t, pid1) => {
  const hooks = [
    ['one', 'hangs', { timeoutMs: 50 }],
    ['good', 10],
    ['two', 'hangs', { timeoutMs: 50 }],
  ]
  const run = start(t, 'core/hooks.js', { pid1, args: hooks.map((hook) => JSON.stringify(hook)) })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 124)
  assert.match(ended.stderr, /^pid1: [^\n]*"two"[^\n]*\npid1: [^\n]*"one"[^\n]*\n$/)
})

for (const [what, args, code] of [
  ['a good', [], 0],
  ['a failing', ['fails'], 1],
] as const) {
  asChildAndPid1(`a pipe whose reader left first changes nothing for ${what} hook`, async (t, pid1) => {
    // `head` reads the ready line and leaves. `exec`: node takes the place of the shell, also as PID 1.
    const run = startInShell(t, pid1, '> >(exec head -n 1)', args)
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, code)
    assert.equal(ended.stdout, 'ready\n')
    assertLeft(ended, code, 'EPIPE')
  })

  asChildAndPid1(`a terminal that was closed changes nothing for ${what} hook`, async (t, pid1) => {
    const terminal = start(t, '', { command: ['script', '--quiet', '--command', 'tty && exec sleep 60', '/dev/null'] })
    const [path] = await terminal.line(/\/dev\/pts\/\d+/)
    const run = startInShell(t, pid1, `> ${path}`, args)
    await terminal.line(/ready/)
    terminal.signal('SIGKILL')
    await terminal.ended
    run.signal('SIGHUP')
    const ended = await run.ended
    assertEnded(ended, code)
    assertLeft(ended, code, 'EIO')
  })
}

asChildAndPid1('where stderr is closed as well, a failing hook still ends with 1', async (t, pid1) => {
  const run = startInShell(t, pid1, '> >(exec head -n 1) 2>&1', ['fails'])
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 1)
  assert.deepEqual([ended.stdout, ended.stderr], ['ready\n', ''])
})

function startInShell(t: TestContext, pid1: boolean, redirection: string, args: readonly string[]): Run {
  const node = [process.execPath, fixturePath('core/reader-gone.js'), ...args].map((word) => `"${word}"`).join(' ')
  return start(t, '', { pid1, command: ['bash', '-c', `exec ${node} ${redirection}`] })
}

/** What the fixture says at the end, on stderr: without the error of stdout it would have proved nothing. */
function assertLeft(ended: Ended, code: number, error: string): void {
  assert.match(ended.stderr, new RegExp(`^left with ${code}, ${error}$`, 'm'))
  if (code === 0) assert.doesNotMatch(ended.stderr, /pid1:/)
  else assert.match(ended.stderr, /^pid1: .*"logging".*no such table/m)
}
