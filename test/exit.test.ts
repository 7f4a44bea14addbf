import assert from 'node:assert/strict'
import { constants } from 'node:os'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { assertEnded } from './helpers/report.ts'
import { asChildAndPid1, fixturePath, start } from './helpers/run.ts'
import { tableIn } from './helpers/table.ts'
import { pidOnTerminal, startOnTerminal } from './helpers/terminal.ts'
import { assertTook } from './helpers/time.ts'

asChildAndPid1('a timer, a server and a connection that are still alive do not delay the exit', async (t, pid1) => {
  const run = start(t, 'core/live-handles.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'ready\nhook runs\n')
  assertTook(ended.ms, { under: 3000 })
})

const fails = ['failing', 'throws']
const hangs = ['hanging', 'hangs', { timeoutMs: 50 }]
const works = ['working', 20]

for (const [what, hooks, own, code] of [
  ['good hooks', [works], undefined, 0],
  ['good hooks and a code of the app', [works], '3', 3],
  ['a failed hook', [works, fails], undefined, 1],
  ['a failed hook and a code of the app', [works, fails], '3', 3],
  ['a cut hook', [works, hangs], undefined, 124],
  ['a cut hook and a code of the app', [works, hangs], '3', 124],
  ['a cut hook and a failed one', [hangs, fails], undefined, 124],
  ['good hooks and a code 0 of the app', [works], '0', 0],
  ['a failed hook and a code 0 of the app', [fails], '0', 1],
  // The kernel keeps one byte, and a failure must not become 0.
  ['good hooks and the code 256', [works], '256', 1],
  ['good hooks and the code -1', [works], '-1', 255],
  ['good hooks and the code 0xC0000005', [works], '0xC0000005', 5],
  ['a failed hook and the code 512', [fails], '512', 1],
] as const) {
  asChildAndPid1(`after ${what} the exit code is ${code}`, async (t, pid1) => {
    const env = own === undefined ? {} : { EXIT_CODE: own }
    const run = start(t, 'core/hooks.js', { pid1, env, args: hooks.map((hook) => JSON.stringify(hook)) })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, code)
    assert.match(ended.stdout, new RegExp(`"exitCode":${code}`))
  })
}

for (const [exitCode, what, hook, code] of [
  ['signal', 'a good hook', works, 143],
  ['signal', 'a failed hook', fails, 1],
  ['signal', 'a cut hook', hangs, 124],
  ['zero', 'a good hook', works, 0],
] as const) {
  asChildAndPid1(`with exitCode '${exitCode}' and ${what} the code is ${code}`, async (t, pid1) => {
    const env = { OPTIONS: JSON.stringify({ exitCode }) }
    const run = start(t, 'core/hooks.js', { pid1, env, args: [JSON.stringify(hook)] })
    await run.line(/ready/)
    run.signal('SIGTERM')
    assertEnded(await run.ended, code)
  })
}

// For each row of the table something that gives its code, although every row below it fits as well.
const rows = [
  { cell: '130', code: 130, signals: ['Ctrl-C', 'Ctrl-C'], hooks: [['endless', 'hangs'], hangs, fails], own: '3' },
  { cell: '124', code: 124, signals: ['Ctrl-C'], hooks: [hangs, fails], own: '3' },
  { cell: 'your own', code: 3, signals: ['Ctrl-C'], hooks: [works, fails], own: '3' },
  { cell: '1', code: 1, signals: ['Ctrl-C'], hooks: [works, fails] },
  { cell: '130', code: 130, signals: ['Ctrl-C'], hooks: [works], exitCode: 'zero' },
  { cell: '128 + n', code: 143, signals: ['SIGTERM'], hooks: [works] },
  { cell: '0', code: 0, signals: ['SIGTERM'], hooks: [works], exitCode: 'zero' },
]

test('docs/exit-codes.md has a row for every code, in the order in which they are decided', () => {
  assert.deepEqual(
    tableIn('exit-codes.md', 'Code').map(([cell]) => cell),
    rows.map(({ cell }) => cell),
  )
})

for (const [index, { cell, code, signals, hooks, own, exitCode = 'signal' }] of rows.entries()) {
  test(`docs/exit-codes.md, row ${index + 1}: ${cell} is ${code} here, before all rows below it`, async (t) => {
    const env = { OPTIONS: JSON.stringify({ exitCode }), ...(own === undefined ? {} : { EXIT_CODE: own }) }
    const args = hooks.map((hook) => `'${JSON.stringify(hook)}'`)
    const run = startOnTerminal(t, [process.execPath, fixturePath('core/hooks.js'), ...args], env)
    await run.line(/ready/)
    for (const signal of signals) {
      if (signal === 'Ctrl-C') run.stdin.write('\u0003')
      else process.kill(pidOnTerminal(run), signal)
      await run.line(/begins/)
      if (signals.length > 1) await wait(150) // one burst of signals counts as one
    }
    assertEnded(await run.ended, code)
  })
}

asChildAndPid1(
  'process.exit during a shutdown keeps its code, and one line names the unfinished hooks and the caller',
  async (t, pid1) => {
    const run = start(t, 'core/exits-in-the-middle.js', { pid1 })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 5)
    assert.equal(ended.stdout, 'ready\ndone\n')
    assert.match(ended.stderr, /^pid1: [^\n]*leaveInTheMiddle[^\n]*exits-in-the-middle\.js:\d+[^\n]*\n$/)
    assert.match(ended.stderr, /"slow"/)
    assert.match(ended.stderr, /"waiting"/)
    assert.doesNotMatch(ended.stderr, /"done"/)
  },
)

asChildAndPid1('process.exit(0) in a shutdown stays 0 where the app formats stacks itself', async (t, pid1) => {
  const run = start(t, 'core/exits-in-the-middle.js', { pid1, args: ['its own stacks'] })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.match(ended.stderr, /^pid1: process\.exit\(0\) [^\n]*leaveInTheMiddle[^\n]*\n$/)
})

asChildAndPid1(
  'process.exit in a hook keeps its code, and one line names the unfinished hooks and the caller',
  async (t, pid1) => {
    const run = start(t, 'core/exits-in-hook.js', { pid1 })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.equal(ended.stdout, 'ready\n')
    assert.match(ended.stderr, /^pid1: [^\n]*leaveTooEarly[^\n]*exits-in-hook\.js:\d+[^\n]*\n$/)
    assert.match(ended.stderr, /"leaving"/)
    assert.match(ended.stderr, /"waiting"/)
  },
)

for (const [fixture, missed] of [
  ['core/exits-in-same-tick.js', '"pending", "waiting"'],
  ['core/exits-at-once.js', '"exits", "never started"'],
] as const) {
  asChildAndPid1(`hooks that end in the tick of process.exit are not named: ${fixture}`, async (t, pid1) => {
    const run = start(t, fixture, { pid1 })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 5)
    assert.match(ended.stderr, /^pid1: process\.exit\(5\) was called [^\n]*; not finished: [^\n]*\n$/)
    const advice = 'Remove the call, or call shutdown({ exitCode: 5 }) instead'
    assert.ok(ended.stderr.endsWith(`; not finished: ${missed}. ${advice}\n`), ended.stderr)
  })
}

for (const nodeArgs of [['--frozen-intrinsics'], ['--import', 'data:text/javascript,Object.freeze(Error)']]) {
  test(`${nodeArgs.join(' ')}: an early process.exit, a failed hook and an uncaught error are handled as without it`, async (t) => {
    for (const [fixture, args, code, line] of [
      ['core/exits-in-hook.js', [], 0, /^pid1: process\.exit\(0\) .*leaveTooEarly.*"waiting"/m],
      [
        'core/hooks.js',
        [JSON.stringify(fails), JSON.stringify(hangs)],
        124,
        /^pid1: the hook "failing" failed: Error/m,
      ],
      ['core/uncaught.js', ['error'], 1, /^TypeError: not a function$/m],
    ] as const) {
      const run = start(t, fixture, { nodeArgs, args })
      await run.line(/ready/)
      if (code !== 1) run.signal('SIGTERM')
      const ended = await run.ended
      assertEnded(ended, code)
      assert.match(ended.stderr, line)
    }
  })
}

for (const [who, line] of [
  [
    'the app',
    /^pid1: process\.exit\(3\) was called without a shutdown, at leaveTooEarly .*; not run: "database"\. Call shutdown\(\{ exitCode: 3 \}\) instead\n$/,
  ],
  ['a library', /^$/],
  ['a test', /^$/],
  ['an app without hooks', /^$/],
] as const) {
  asChildAndPid1(`process.exit outside of a shutdown, called by ${who}, keeps its code`, async (t, pid1) => {
    const ended = await start(t, 'core/exits-without-shutdown.js', { pid1, args: [who] }).ended
    assertEnded(ended, 3)
    assert.match(ended.stderr, line)
  })
}

for (const [way, code, stdout] of [
  ['process.exit', 3, 'last words: 3 null\n'],
  ['an empty event loop', 0, 'ready\nhook runs\nlast words: 0 null\n'],
  ['an uncaught error', 1, 'ready\nhook runs\nlast words: 1 null\n'],
  ['shutdown()', 7, 'ready\nhook runs\nlast words: 7 null\n'],
] as const) {
  asChildAndPid1(`an onExit callback runs after ${way}`, async (t, pid1) => {
    const ended = await start(t, 'core/on-exit.js', { pid1, args: [way] }).ended
    assertEnded(ended, code)
    assert.equal(ended.stdout, stdout)
    if (way === 'process.exit') assert.match(ended.stderr, /^pid1: process\.exit\(3\) was called without a shutdown/)
    else if (way !== 'an uncaught error') assert.equal(ended.stderr, '')
  })
}

for (const way of ['a signal', 'signal, without a hook']) {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGPWR'] as const) {
    asChildAndPid1(`an onExit callback runs after ${signal} (${way})`, async (t, pid1) => {
      const run = start(t, 'core/on-exit.js', { pid1, args: [way] })
      await run.line(/ready/)
      run.signal(signal)
      const ended = await run.ended
      assertEnded(ended, 0)
      assert.equal(ended.stdout, `ready\n${way === 'a signal' ? 'hook runs\n' : ''}last words: 0 null\n`)
    })
  }
}

for (const signal of ['SIGUSR2', 'SIGALRM', 'SIGVTALRM', 'SIGSTKFLT', 'SIGXCPU'] as const) {
  asChildAndPid1(`an onExit callback runs after ${signal}, which is not a stop signal`, async (t, pid1) => {
    const run = start(t, 'core/on-exit.js', { pid1, args: ['a signal'] })
    await run.line(/ready/)
    run.signal(signal)
    const ended = await run.ended
    const code = 128 + constants.signals[signal]
    // An ordinary process dies of the signal itself, as it would have done without this package.
    assert.deepEqual([ended.code, ended.signal], pid1 ? [code, null] : [null, signal], ended.stderr)
    assert.equal(ended.stdout, `ready\nlast words: ${pid1 ? `${code} null` : `null ${signal}`}\n`)
  })
}

asChildAndPid1('onExit leaves SIGXFSZ, which Node ignores, as it was', async (t, pid1) => {
  const run = start(t, 'core/on-exit-throws.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGXFSZ')
  run.stdin.write('?')
  await run.line(/still alive/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.match(ended.stdout, /^ready\nstill alive\nfirst callback/)
})

for (const signal of ['SIGABRT', 'SIGSYS', 'SIGTRAP'] as const) {
  test(`onExit leaves ${signal} as it was, which belongs to debuggers and crash reporters`, async (t) => {
    const run = start(t, 'core/on-exit-throws.js')
    await run.line(/ready/)
    run.signal(signal)
    const ended = await run.ended
    assert.deepEqual([ended.signal, ended.stdout], [signal, 'ready\n'])
  })
}

asChildAndPid1('exit callbacks that unregister do not affect the others', async (t, pid1) => {
  const run = start(t, 'core/on-exit-unregisters.js', { pid1 })
  await run.line(/ready/)
  run.stdin.write('?')
  const ended = await run.ended
  assertEnded(ended, 3)
  // What signal-exit exports stays as it is, because others read it.
  const lines = ['signals SIGABRT,SIGXFSZ,SIGTRAP,SIGSYS,SIGIOT', 'ready', 'a', 'b', 'c', 'd', 'last', 'other user', '']
  assert.deepEqual(ended.stdout.split('\n'), lines)
})

asChildAndPid1(
  'an onExit callback that throws changes neither the exit code nor the other callbacks',
  async (t, pid1) => {
    const run = start(t, 'core/on-exit-throws.js', { pid1 })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.match(ended.stdout, /first callback/)
    assert.match(ended.stdout, /last callback/)
    assert.match(ended.stderr, /^pid1: .*last words failed/)
  },
)

asChildAndPid1('an onExit callback that returns a promise is warned of once', async (t, pid1) => {
  const run = start(t, 'core/on-exit-promise.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(ended.stderr, 'pid1: an onExit callback returned a promise, which nothing awaits: use onShutdown\n')
  assert.match(ended.stdout, /last callback/)
})

for (const [argument, code] of [
  ['3', 3],
  ['256', 1],
  ['-1', 255],
  ['"4"', 4],
  ['null', 0],
] as const) {
  asChildAndPid1(`process.exit(${argument}) in a shutdown ends with ${code}`, async (t, pid1) => {
    const run = start(t, 'core/exits-with.js', { pid1, args: [argument] })
    await run.line(/ready/)
    run.signal('SIGTERM')
    assertEnded(await run.ended, code)
  })
}

for (const [childCode, code] of [
  ['7', 7],
  ['-2', 254],
  ['3221225477', 5],
  ['256', 1],
] as const) {
  asChildAndPid1(`a child that ends with ${childCode} ends the service with ${code}`, async (t, pid1) => {
    const ended = await start(t, 'core/child-code.js', { pid1, args: [childCode] }).ended
    assertEnded(ended, code)
    assert.deepEqual([ended.stdout, ended.stderr], ['hook runs\n', ''])
  })
}

for (const [event, kind, when, then, code] of [
  ['exit', 'error', 'before', 'natural', 1],
  ['exit', 'error', 'after', 'natural', 1],
  ['exit', 'error', 'after', 'natural', 5],
  ['exit', 'error', 'before', 'process.exit', 1],
  ['exit', 'error', 'after', 'process.exit', 5],
  ['exit', 'error', 'before', 'signal', 1],
  ['exit', 'error', 'after', 'signal', 5],
  ['beforeExit', 'error', 'before', 'natural', 1],
  ['beforeExit', 'error', 'after', 'natural', 1],
  ['beforeExit', 'rejection', 'before', 'natural', 1],
  ['beforeExit', 'rejection', 'after', 'natural', 5],
] as const) {
  for (const nodeArgs of then === 'signal' ? [[], ['--no-addons']] : [[]]) {
    const listener = `a listener of '${event}' (${kind}, ${when} the registration)`
    const how = `${then} ${nodeArgs.join()}`
    asChildAndPid1(`${listener} changes nothing but the exit code, to ${code}: ${how}`, async (t, pid1) => {
      const args = [event, kind, when, then, ...(code === 1 ? [] : [String(code)])]
      const run = start(t, 'core/end-listener-throws.js', { pid1, nodeArgs, args })
      await run.line(/ready/)
      if (then === 'signal') run.signal('SIGTERM')
      const ended = await run.ended
      assertEnded(ended, code)
      assert.match(
        ended.stdout,
        new RegExp(`^ready\n${then === 'process.exit' ? '' : 'hook runs: .*\n'}last words: ${code}\n$`),
      )
      assert.match(ended.stderr, /^(TypeError: not a function|Error: nobody catches)$/m)
      assert.match(ended.stderr, /^Node\.js v/m)
      assertTook(ended.ms, { under: 3000 })
    })
  }
}

for (const [what, line] of [
  [
    'returns',
    /^pid1: process\.exit was replaced by a function that does not end the process, so the process is ended without it\n$/,
  ],
  ['throws', /^pid1: process\.exit failed: Error: no exit here\n[^]*pid1: process\.exit was replaced/],
  ['exits later', /^$/],
] as const) {
  asChildAndPid1(`a process.exit of the app that ${what} does not keep the process`, async (t, pid1) => {
    const run = start(t, 'core/exit-replaced.js', { pid1, args: [what] })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.equal(ended.stdout, 'ready\nhook runs\nexit 0\nlast words 0\n')
    assert.match(ended.stderr, line)
    assertTook(ended.ms, { under: 3000 })
  })
}
