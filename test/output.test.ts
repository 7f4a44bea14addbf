import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { listOf, pathOf, quoted, safeName } from '../src/log.ts'
import { assertEnded, assertStoppedWell } from './helpers/report.ts'
import { asChildAndPid1, type Ended, fixturePath, type Run, start } from './helpers/run.ts'

asChildAndPid1('a good shutdown prints nothing', async (t, pid1) => {
  const run = start(t, 'core/quiet.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.deepEqual([ended.stdout, ended.stderr], ['ready\n', ''])
})

asChildAndPid1('DEBUG=pid1:* prints debug lines on stderr', async (t, pid1) => {
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

asChildAndPid1('what is printed has no control characters, and names at most ten hooks', async (t, pid1) => {
  const run = start(t, 'core/control-characters.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 5)
  assert.doesNotMatch(ended.stderr, /[^\n -~…]/)
  const printed =
    String.raw`pid1: the hook "a\x0ab\x1b[2Jc\x9bd\u202ee" failed: Error: a` + '\n' + String.raw`b\x1b[2Jc\x9bd\u202ee`
  assert.ok(ended.stderr.startsWith(printed), ended.stderr)
  assert.match(
    ended.stderr,
    /not finished: "999 x{95}…", ("\d+ x+…", ){8}"\d+ x+…" and 990 more\. Remove the call, or call shutdown\(\{ exitCode: 5 \}\) instead\n$/,
  )
})

test('names from outside are made printable, short and few', () => {
  assert.equal(safeName('größe 数据 \u202e\x7f\0'), 'größe 数据 \\u202e\\x7f\\x00')
  assert.equal(quoted('x'.repeat(101)), `"${'x'.repeat(99)}…"`)
  assert.equal(listOf(['a', 'b'], safeName), 'a, b')
  assert.match(listOf(Array(1000).fill('a'), safeName), /^(a, ){9}a and 990 more$/)
  for (const [url, path] of [
    ['/a/b?token=secret#fragment', '/a/b'],
    ['/a#token=secret?', '/a'],
    ['http://user:password@host:80/a', '/a'],
    ['HTTP://user:password@host', '/'],
    ['//user:password@host/a', '/a'],
    ['user:password@host:443', 'host:443'],
    ['*', '*'],
    ['/\x9b2J\n', '/%9B2J%0A'],
    ['', '/'],
  ] as const) {
    assert.equal(pathOf(url), path)
  }
})

for (const [what, args, code] of [
  ['a good', [], 0],
  ['a failing', ['fails'], 1],
] as const) {
  asChildAndPid1(`a pipe whose reader exited first changes nothing for ${what} hook`, async (t, pid1) => {
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

asChildAndPid1('with stderr closed too, a failing hook still makes the exit code 1', async (t, pid1) => {
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

asChildAndPid1('twelve worker threads print no warning of listeners at a good stop', async (t, pid1) => {
  const run = start(t, 'core/twelve-workers.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  assertStoppedWell(await run.ended)
})

for (const when of ['before', 'after', 'too many']) {
  asChildAndPid1(`where the app adds listeners too, Node warns only of a leak: ${when}`, async (t, pid1) => {
    const run = start(t, 'core/ten-listeners.js', { pid1, args: [when] })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.equal(ended.stdout, 'ready\nhook runs\n')
    if (when === 'too many') assert.match(ended.stderr, /MaxListenersExceededWarning: .* app listeners/)
    else assert.equal(ended.stderr, '')
  })
}
