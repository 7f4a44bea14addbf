import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertEnded, complaints, stop } from './helpers/report.ts'
import { asChildAndPid1, type Ended, type Run, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

interface Scenario {
  readonly from?: 'a package' | 'signal-exit' | 'the app'
  /** Registered before pid1 is imported. */
  readonly before?: boolean
  readonly method?: 'on' | 'once' | 'prependListener' | 'prependOnceListener'
  readonly signal?: NodeJS.Signals
  readonly does?: string
  readonly hook?: 'says' | 'fails' | 'hangs'
  readonly options?: object
  /** Given to a later `configure`. */
  readonly late?: object
  readonly removes?: 'at once' | 'in a hook'
  /** How often it is registered. */
  readonly times?: number
}

const waits = ['hook', 'flush hook', 'listener']
const runsAtOnce = ['listener', 'hook', 'flush hook']
const libraries = { otherListeners: 'libraries' }

const orders: readonly (readonly [what: string, Scenario, happens: readonly string[]])[] = [
  ["a package's waits", {}, waits],
  ["a package's waits, with the option", { options: libraries }, waits],
  ["a package's waits, with the option undefined", { options: { otherListeners: undefined } }, waits],
  ["a package's waits, where it is added by once", { method: 'once' }, waits],
  ["a package's waits, where it is added by prependListener", { method: 'prependListener' }, waits],
  ["a package's waits, where it is added by prependOnceListener", { method: 'prependOnceListener' }, waits],
  ["a package's runs at once with 'atOnce'", { options: { otherListeners: 'atOnce' } }, runsAtOnce],
  ["a package's runs at once with a later 'atOnce'", { late: { otherListeners: 'atOnce' } }, runsAtOnce],
  ["the app's runs at once", { from: 'the app' }, runsAtOnce],
  ["the app's runs at once, where it is added by once", { from: 'the app', method: 'once' }, runsAtOnce],
  ["the app's runs at once, where it is prepended", { from: 'the app', method: 'prependListener' }, runsAtOnce],
  ["the app's waits with 'afterDrain'", { from: 'the app', options: { otherListeners: 'afterDrain' } }, waits],
  ["the app's waits with a later 'afterDrain'", { from: 'the app', late: { otherListeners: 'afterDrain' } }, waits],
  ['one that was there before waits', { from: 'the app', before: true }, waits],
  [
    'one that was there before runs at once with atOnce',
    { before: true, options: { otherListeners: 'atOnce' } },
    runsAtOnce,
  ],
  ["signal-exit's runs at once", { from: 'signal-exit' }, runsAtOnce],
  ['one that is removed is not called', { removes: 'at once' }, ['hook', 'flush hook']],
  ['one that is removed by a hook is not called', { removes: 'in a hook' }, ['hook', 'flush hook']],
  [
    'one that was added by once, and is removed by a hook, is not called',
    { method: 'once', removes: 'in a hook' },
    ['hook', 'flush hook'],
  ],
]

for (const [what, scenario, happens] of orders) {
  test(`other listeners: ${what}`, async (t) => {
    const ended = await stop(startWith(t, scenario))
    assertEnded(ended, 0)
    assert.equal(ended.stderr, '')
    assert.deepEqual(
      linesOf(ended).filter((line) => !/^(ready|report|app$|\d)/.test(line)),
      happens,
    )
    const isRemoved = scenario.removes === 'at once'
    assert.match(ended.stdout, isRemoved ? /^0 of 1$/m : /^1 of 2$/m) // the listeners that everyone sees
    // An `await once(process, 'SIGTERM')` that the app has written runs at once; where all wait, it waits too.
    const isAppLast = JSON.stringify(scenario).includes('afterDrain')
    assert.equal(linesOf(ended).indexOf('app') < linesOf(ended).indexOf('hook'), !isAppLast)
  })
}

for (const method of ['on', 'once'] as const) {
  test(`other listeners: one that is registered twice is called twice (${method})`, async (t) => {
    const ended = await stop(startWith(t, { method, times: 2 }))
    assertEnded(ended, 0)
    assert.match(ended.stdout, /^2 of 3$/m)
    assert.match(ended.stdout, /flush hook\nlistener\nlistener\nreport 0/)
  })
}

asChildAndPid1('other listeners: what one returns is awaited, and reported like a hook of flush', async (t, pid1) => {
  const ended = await stop(startWith(t, { does: 'waits' }, pid1))
  assertEnded(ended, 0)
  assert.match(
    ended.stdout,
    /\nflush hook\nlistener\nreport 0: logs done durationMs; SIGTERM listener of other\/lib\/stop\.js:1:\d+ done durationMs\n$/,
  )
})

for (const [does, from] of [
  ['throws', 'a package'],
  ['rejects', 'a package'],
  ['throws', 'the app'],
  ['rejects', 'the app'],
] as const) {
  asChildAndPid1(`other listeners: the error of one that ${does} is an uncaught one (${from})`, async (t, pid1) => {
    const options = { otherListeners: 'afterDrain' }
    const ended = await stop(startWith(t, { does, from, options }, pid1))
    assertEnded(ended, 1)
    assert.deepEqual(complaints(ended), [])
    assert.equal(ended.stderr.match(/Error: of the listener/g)?.length, 1, ended.stderr)
    assert.match(ended.stdout, /flush hook\nlistener\nreport 1: .*failed/)
  })
}

test('other listeners: the rejection of one follows --unhandled-rejections', async (t) => {
  const ended = await stop(startWith(t, { does: 'rejects' }, false, ['--unhandled-rejections=warn']))
  assertEnded(ended, 0)
  assert.match(ended.stderr, /UnhandledPromiseRejectionWarning[^]*of the listener/)
})

asChildAndPid1('other listeners: one that never settles is a line, and not 124', async (t, pid1) => {
  const ended = await stop(startWith(t, { does: 'hangs' }, pid1))
  assertEnded(ended, 0)
  assert.match(
    ended.stderr,
    /^pid1: the SIGTERM listener of other\/lib\/stop\.js:1:\d+ was cut after \d+ ms, which does not affect the exit code\n$/,
  )
  assertTook(ended.ms, { under: 2000 })
})

const exits: readonly (readonly [does: string, hook: Scenario['hook'], code: number])[] = [
  ['exits with 0', 'says', 0],
  ['exits later', 'says', 0],
  ['exits with 3', 'says', 3],
  ['exits with 0', 'fails', 1],
  ['exits with 0', 'hangs', 124],
  ['exits later', 'hangs', 124],
  ['exits with 3', 'hangs', 3],
]

for (const [does, hook = 'says', code] of exits) {
  asChildAndPid1(`other listeners: where one ${does} and a hook ${hook}, the code is ${code}`, async (t, pid1) => {
    const ended = await stop(startWith(t, { does, hook }, pid1))
    assertEnded(ended, code)
    assert.doesNotMatch(ended.stderr, /process\.exit/)
    assert.equal(complaints(ended).length, hook === 'says' ? 0 : 1, ended.stderr)
    assert.match(ended.stdout, new RegExp(`flush hook\nlistener\nreport ${code}: logs done`))
  })
}

asChildAndPid1('other listeners: await shutdown() in one resolves at once', async (t, pid1) => {
  const ended = await stop(startWith(t, { does: 'awaits shutdown()' }, pid1))
  assertEnded(ended, 0)
  assert.match(ended.stdout, /^listener, report: true$/m)
})

test('other listeners: one is called once, however many signals arrive', async (t) => {
  const run = startWith(t, { does: 'waits' })
  await run.line(/^ready$/m)
  run.signal('SIGTERM')
  await run.line(/^listener$|^hook$/m)
  run.signal('SIGTERM')
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(linesOf(ended).filter((line) => line === 'listener').length, 1)
})

test('other listeners: of a configured signal wait too, and a signal that belongs to the app is left alone', async (t) => {
  for (const [options, happens] of [
    [{ signals: ['SIGHUP'] }, waits],
    [{}, ['listener']],
  ] as const) {
    const run = startWith(t, { signal: 'SIGHUP', options })
    await run.line(/^ready$/m)
    run.signal('SIGHUP')
    await run.line(/^listener$/m)
    if (happens.length === 1) run.signal('SIGKILL')
    assert.deepEqual(
      linesOf(await run.ended).filter((line) => /^(flush )?hook|^listener/.test(line)),
      happens,
    )
  }
})

test('other listeners: each that waits is a line of debug output with the place that registered it', async (t) => {
  const run = startWith(t, {}, false, [], { DEBUG: 'pid1:signals' })
  const ended = await stop(run)
  const lines = ended.stderr.match(/^.*waits for the end of the stage flush.*$/gm) ?? []
  assert.equal(lines.length, 1, ended.stderr)
  assert.match(lines[0] ?? '', /the SIGTERM listener of other\/lib\/stop\.js:1:\d+ waits/)
})

function startWith(
  t: Parameters<typeof start>[0],
  scenario: Scenario,
  pid1: boolean = false,
  nodeArgs: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Run {
  return start(t, 'core/other-listeners.js', { pid1, args: [JSON.stringify(scenario)], nodeArgs, env })
}

function linesOf({ stdout }: Ended): string[] {
  return stdout.trimEnd().split('\n')
}
