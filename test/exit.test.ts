import assert from 'node:assert/strict'
import { constants } from 'node:os'
import { assertEnded } from './helpers/report.ts'
import { asChildAndPid1, start } from './helpers/run.ts'

asChildAndPid1('a timer, a server and a connection that are still alive hold nothing up', async (t, pid1) => {
  const run = start(t, 'core/live-handles.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'ready\nhook runs\n')
  assert.ok(ended.ms < 3000, `left after ${ended.ms} ms`)
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

asChildAndPid1('process.exit in the middle keeps its code, and the loss is told with its caller', async (t, pid1) => {
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
})

asChildAndPid1('process.exit in a hook keeps its code, and the loss is told with its caller', async (t, pid1) => {
  const run = start(t, 'core/exits-in-hook.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'ready\n')
  assert.match(ended.stderr, /^pid1: [^\n]*leaveTooEarly[^\n]*exits-in-hook\.js:\d+[^\n]*\n$/)
  assert.match(ended.stderr, /"leaving"/)
  assert.match(ended.stderr, /"waiting"/)
})

for (const [way, code, stdout] of [
  ['process.exit', 3, 'last words: 3 null\n'],
  ['an empty event loop', 0, 'ready\nhook runs\nlast words: 0 null\n'],
  ['an uncaught error', 1, 'ready\nhook runs\nlast words: 1 null\n'],
  ['shutdown()', 7, 'ready\nhook runs\nlast words: 7 null\n'],
] as const) {
  asChildAndPid1(`onExit has the last words after ${way}`, async (t, pid1) => {
    const ended = await start(t, 'core/on-exit.js', { pid1, args: [way] }).ended
    assertEnded(ended, code)
    assert.equal(ended.stdout, stdout)
    if (way !== 'an uncaught error') assert.equal(ended.stderr, '')
  })
}

for (const way of ['a signal', 'signal, without a hook']) {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGPWR'] as const) {
    asChildAndPid1(`onExit has the last words after ${signal} (${way})`, async (t, pid1) => {
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
  asChildAndPid1(`onExit has the last words after ${signal}, which is no stop signal`, async (t, pid1) => {
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

asChildAndPid1('an onExit callback that throws costs neither the code nor the others', async (t, pid1) => {
  const run = start(t, 'core/on-exit-throws.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.match(ended.stdout, /first callback/)
  assert.match(ended.stdout, /last callback/)
  assert.match(ended.stderr, /^pid1: .*last words failed/)
})
