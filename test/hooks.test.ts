import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { ShutdownReport } from 'pid1'
import { assertEnded, complaints, hookReport, outcomes, reportIn, stop } from './helpers/report.ts'
import { asChildAndPid1, type Ended, type Run, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

type HookArgument = readonly [name: string, what: string | number, options?: object]

asChildAndPid1('hooks run one after the other, last registered first', async (t, pid1) => {
  const ended = await stop(
    startWithHooks(t, pid1, [
      ['first', 100],
      ['second', 100],
      ['third', 100],
    ]),
  )
  assertEnded(ended, 0)
  assert.equal(ended.stderr, '')
  assert.deepEqual(happened(ended), [
    'third begins',
    'third ends',
    'second begins',
    'second ends',
    'first begins',
    'first ends',
  ])
})

for (const what of ['throws', 'rejects', 'throws a string']) {
  asChildAndPid1(`a hook that ${what} makes the exit code 1, and the other hooks run`, async (t, pid1) => {
    const ended = await stop(
      startWithHooks(t, pid1, [
        ['first', 50],
        ['bad', what],
        ['last', 50],
      ]),
    )
    assertEnded(ended, 1)
    assert.deepEqual(happened(ended), ['last begins', 'last ends', 'bad begins', 'first begins', 'first ends'])
    assert.deepEqual(outcomes(ended), { last: 'done', bad: 'failed', first: 'done' })
    assert.match(ended.stderr, /^pid1: .*"bad".*no such table/)
    assert.equal(complaints(ended).length, 1)
  })
}

for (const what of ['hangs', 'goes on for ever']) {
  asChildAndPid1(`a hook that ${what} is cut at the deadline`, async (t, pid1) => {
    const ended = await stop(startWithHooks(t, pid1, [['stuck', what]], { gracePeriodMs: 1000 }))
    assertEnded(ended, 124)
    assertTook(ended.ms, { over: 700, under: 1500 })
    assert.deepEqual(outcomes(ended), { stuck: 'cut' })
    assert.match(ended.stderr, /^pid1: .*"stuck".*\d+ ms/)
    assert.equal(complaints(ended).length, 1)
    assert.equal(hookReport(ended, 'stuck').error.code, 'PID1_HOOK_TIMEOUT')
  })
}

asChildAndPid1('hooks that need 300 ms each do not wait for a hook that hangs', async (t, pid1) => {
  const ended = await stop(
    startWithHooks(
      t,
      pid1,
      [
        ['first', 300],
        ['second', 300],
        ['stuck', 'hangs'],
      ],
      { gracePeriodMs: 2000 },
    ),
  )
  assertEnded(ended, 124)
  assert.deepEqual(happened(ended).slice(0, 2), ['stuck begins', 'second begins'])
  assert.deepEqual(outcomes(ended), { stuck: 'cut', second: 'done', first: 'done' })
  assertTook(ended.ms, { over: 1700, under: 2000 })
})

asChildAndPid1(
  'beside a hook that needs more than its share the next one starts, and neither is cut',
  async (t, pid1) => {
    const ended = await stop(
      startWithHooks(
        t,
        pid1,
        [
          ['first', 10],
          ['second', 10],
          ['slow', 1200],
        ],
        { gracePeriodMs: 3000 },
      ),
    )
    assertEnded(ended, 0)
    assert.equal(happened(ended).at(-1), 'slow ends')
    assert.deepEqual(outcomes(ended), { slow: 'done', second: 'done', first: 'done' })
    assert.equal(ended.stderr, '')
  },
)

asChildAndPid1('timeoutMs cuts a hook before the deadline', async (t, pid1) => {
  const ended = await stop(
    startWithHooks(t, pid1, [
      ['first', 50],
      ['stuck', 'hangs', { timeoutMs: 200 }],
    ]),
  )
  assertEnded(ended, 124)
  assertTook(ended.ms, { under: 5000 })
  assert.deepEqual(happened(ended), ['stuck begins', 'first begins', 'first ends'])
  assert.deepEqual(outcomes(ended), { stuck: 'cut', first: 'done' })
  assert.match(ended.stderr, /"stuck".*200 ms/)
})

asChildAndPid1('a hook that was cut and fails later is no uncaught error', async (t, pid1) => {
  const late = ['late', 'rejects too late', { timeoutMs: 100 }] as const
  const ended = await stop(startWithHooks(t, pid1, [['first', 800], late]))
  assertEnded(ended, 124)
  assert.doesNotMatch(ended.stderr, /connection lost/)
  assert.deepEqual(reportIn(ended).errors, [])
  assert.deepEqual(outcomes(ended), { late: 'cut', first: 'done' })
})

asChildAndPid1('the stages run in their order, whatever was registered first', async (t, pid1) => {
  const hooks = [
    ['logs', 20, { stage: 'flush' }],
    ['database', 20],
    ['queue', 100, { stage: 'intake' }],
    ['metrics', 20, { stage: 'flush' }],
    ['consumer', 50, { stage: 'intake' }],
  ] as const
  const ended = await stop(startWithHooks(t, pid1, hooks))
  assertEnded(ended, 0)
  const intake = ['queue begins', 'consumer begins', 'queue ends', 'consumer ends']
  assert.deepEqual(happened(ended).slice(0, 4).toSorted(), intake.toSorted())
  assert.deepEqual(happened(ended).slice(4), [
    'database begins',
    'database ends',
    'metrics begins',
    'metrics ends',
    'logs begins',
    'logs ends',
  ])
})

asChildAndPid1('the hooks of intake run all at once', async (t, pid1) => {
  const intake = { stage: 'intake' }
  const hooks = [
    ['one', 200, intake],
    ['two', 200, intake],
    ['three', 200, intake],
  ] as const
  const ended = await stop(startWithHooks(t, pid1, hooks))
  assertEnded(ended, 0)
  const begun = happened(ended).slice(0, 3)
  assert.deepEqual(begun.toSorted(), ['one begins', 'three begins', 'two begins'])
})

asChildAndPid1('a stage that hangs does not use the time of the later stages', async (t, pid1) => {
  const hooks = [
    ['logs', 50, { stage: 'flush' }],
    ['database', 100],
    ['queue', 'hangs', { stage: 'intake' }],
  ] as const
  const ended = await stop(startWithHooks(t, pid1, hooks, { gracePeriodMs: 2000 }))
  assertEnded(ended, 124)
  assert.deepEqual(outcomes(ended), { queue: 'cut', database: 'done', logs: 'done' })
  assertTook(ended.ms, { under: 2000 })
})

for (const [gracePeriodMs, deadlineMs] of [
  [10_000, 9000],
  [30_000, 28_000], // 10 % would be more than the 2 s at most
  [2000, 1750], // 10 % would be less than the 250 ms at least
  [400, 200], // and those more than half the grace period
] as const) {
  asChildAndPid1(`a grace period of ${gracePeriodMs} ms gives a deadline of ${deadlineMs} ms`, async (t, pid1) => {
    const ended = await stop(startWithHooks(t, pid1, [['only', 0]], { gracePeriodMs }))
    assertEnded(ended, 0)
    const { startedAt, deadline, gracePeriodMs: reported } = reportIn(ended)
    assert.equal(reported, gracePeriodMs)
    assertClose(deadline - startedAt, deadlineMs)
    assertClose(deadlineOf(ended, 'only'), deadlineMs)
  })
}

asChildAndPid1('a stage does not use the time that later stages reserve', async (t, pid1) => {
  const [intake, cleanup, flush] = ['intake', 'cleanup', 'flush'].map((stage) => [stage, 0, { stage }] as const)
  if (intake === undefined || cleanup === undefined || flush === undefined) throw new Error('Expected three stages')
  const all = await stop(startWithHooks(t, pid1, [flush, cleanup, intake]))
  assertClose(deadlineOf(all, 'intake'), 9000 - 1800 - 900)
  assertClose(deadlineOf(all, 'cleanup'), 9000 - 900)
  assertClose(deadlineOf(all, 'flush'), 9000)
  const withoutCleanup = await stop(startWithHooks(t, pid1, [flush, intake]))
  assertClose(deadlineOf(withoutCleanup, 'intake'), 9000 - 900)
  const withMuchTime = await stop(startWithHooks(t, pid1, [flush, cleanup, intake], { gracePeriodMs: 60_000 }))
  assertClose(deadlineOf(withMuchTime, 'intake'), 58_000 - 11_600 - 1000)
  assertClose(deadlineOf(withMuchTime, 'cleanup'), 58_000 - 1000)
})

asChildAndPid1('with a grace period of 0 every hook is started and none is waited for', async (t, pid1) => {
  const hooks = [
    ['logs', 'hangs', { stage: 'flush' }],
    ['database', 'hangs'],
    ['cache', 'hangs'],
    ['queue', 'hangs', { stage: 'intake' }],
  ] as const
  const ended = await stop(startWithHooks(t, pid1, hooks, { gracePeriodMs: 0 }))
  assertEnded(ended, 124)
  assert.deepEqual(happened(ended), ['queue begins', 'cache begins', 'database begins', 'logs begins'])
  assertTook(ended.ms, { under: 1000 })
})

asChildAndPid1('with a grace period of 0 the synchronous part of a hook runs', async (t, pid1) => {
  const hooks = [
    ['logs', 'returns at once', { stage: 'flush' }],
    ['database', 'returns at once'],
  ] as const
  const ended = await stop(startWithHooks(t, pid1, hooks, { gracePeriodMs: 0 }))
  assertEnded(ended, 0)
  assert.deepEqual(outcomes(ended), { database: 'done', logs: 'done' })
  assert.equal(ended.stderr, '')
})

asChildAndPid1('with a grace period of 0 a short stall does not count as a blocked loop', async (t, pid1) => {
  const ended = await stop(startWithHooks(t, pid1, [['database', 'blocks for 120 ms']], { gracePeriodMs: 0 }))
  assertEnded(ended, 0)
  assert.deepEqual(outcomes(ended), { database: 'done' })
  assert.equal(ended.stderr, '')
})

asChildAndPid1('a hook gets the reason, its remaining time, and an abort when its time is up', async (t, pid1) => {
  const ended = await stop(start(t, 'core/context.js', { pid1 }))
  assertEnded(ended, 124)
  const told = JSON.parse(/^\{.*\}$/m.exec(ended.stdout)?.[0] ?? '') as Record<string, unknown>
  assert.equal(told['reason'], 'SIGTERM')
  assert.equal(told['aborted'], false)
  for (const left of [Number(told['left']), Number(told['until'])]) {
    assert.ok(left > 700 && left <= 1001, `${left} ms of 1000 ms left`)
  }
  const later = Number(/later (\S+)/.exec(ended.stdout)?.[1])
  assert.ok(later > 0 && later < 910, `${later} ms of 1000 ms left after 100 ms`)
  const goodbye = Number(/^aborted AbortError PID1_HOOK_TIMEOUT (\S+)$/m.exec(ended.stdout)?.[1])
  assert.ok(goodbye > 0 && goodbye < 105, `${goodbye} ms of 1000 ms left at the abort`)
})

asChildAndPid1('the signal of a hook that finished in time is never aborted', async (t, pid1) => {
  const ended = await stop(start(t, 'core/abort-of-good-hook.js', { pid1 }))
  assertEnded(ended, 0)
  assert.match(ended.stdout, /^aborted: false$/m)
})

asChildAndPid1(
  'a hook registered after the start runs in its stage, or in the current one if that is over',
  async (t, pid1) => {
    const ended = await stop(start(t, 'core/late-hooks.js', { pid1 }))
    assertEnded(ended, 0)
    const names = reportIn(ended).stages.map(({ name, hooks }) => [name, hooks.map((hook) => hook.name).toSorted()])
    assert.deepEqual(names, [
      ['announce', []],
      ['intake', ['first', 'intake in intake']],
      ['cleanup', ['cleanup in intake']],
      ['children', []],
      ['flush', ['cleanup in flush', 'flush in flush', 'flush in intake', 'intake in flush', 'last']],
      ['sidecars', []],
    ])
    assert.equal(ended.stdout.match(/ runs$/gm)?.length, 6)
  },
)

asChildAndPid1('an unregistered hook does not run, and unregistering twice is harmless', async (t, pid1) => {
  const ended = await stop(start(t, 'core/unregister.js', { pid1 }))
  assertEnded(ended, 0)
  assert.equal(ended.stderr, '')
  assert.deepEqual(ended.stdout.match(/.* runs$/gm), ['kept runs'])
})

asChildAndPid1('a function that is registered twice runs twice', async (t, pid1) => {
  const ended = await stop(start(t, 'core/same-hook-twice.js', { pid1 }))
  assertEnded(ended, 0)
  assert.equal(ended.stdout.match(/pool closed/g)?.length, 2)
})

asChildAndPid1('a hook without a name is reported by the name of its function', async (t, pid1) => {
  const ended = await stop(start(t, 'core/unnamed-hooks.js', { pid1 }))
  assertEnded(ended, 1)
  assert.equal(complaints(ended).length, 2)
  assert.match(complaints(ended)[0] ?? '', /"closeDatabase".*second/)
  assert.match(complaints(ended)[1] ?? '', /".+".*first/)
})

asChildAndPid1('onShutdown accepts options without a name, and any function', async (t, pid1) => {
  const ended = await start(t, 'core/functions.js', { pid1 }).ended
  assertEnded(ended, 1)
  const { errors, stages } = reportIn(ended)
  const run = stages.flatMap(({ name, hooks }) => hooks.map((hook) => `${name}: ${hook.name}`))
  assert.deepEqual(run, ['cleanup: anonymous hook', 'flush: sendLogs', 'flush: anonymous hook'])
  assert.equal(errors.length, 1)
  assert.match(ended.stdout, /^the error is its own: true$/m)
})

asChildAndPid1('a hook that awaits shutdown() gets the report so far', async (t, pid1) => {
  const ended = await stop(start(t, 'core/await-in-hook.js', { pid1 }))
  assertEnded(ended, 0)
  const report = reportIn(ended)
  assert.equal(report.reason, 'SIGTERM')
  assert.deepEqual(
    report.stages.at(-1)?.hooks.map(({ name, outcome }) => [name, outcome]),
    [['awaiting', 'running']],
  )
  assert.match(ended.stdout, /later runs\nexit code 0\n/)
})

asChildAndPid1('the report describes the shutdown', async (t, pid1) => {
  const before = Date.now()
  const hooks = [
    ['logs', 20, { stage: 'flush' }],
    ['database', 'throws'],
    ['cache', 'hangs', { timeoutMs: 100 }],
    ['queue', 50, { stage: 'intake' }],
  ] as const
  const ended = await stop(startWithHooks(t, pid1, hooks, { gracePeriodMs: 5000 }))
  assertEnded(ended, 124)
  const report = reportIn(ended)
  assert.ok(report.startedAt >= before && report.startedAt <= Date.now())
  assertClose(report.deadline - report.startedAt, 4500)
  assertTook(report.durationMs, { over: 165, under: 4500 })
  assert.deepEqual(withoutTimes(report), {
    reason: 'SIGTERM',
    signal: 'SIGTERM',
    startedAt: 'a time',
    durationMs: 'a time',
    gracePeriodMs: 5000,
    deadline: 'a time',
    stages: [
      { name: 'announce', durationMs: 'a time', hooks: [] },
      { name: 'intake', durationMs: 'a time', hooks: [{ name: 'queue', outcome: 'done', durationMs: 'a time' }] },
      {
        name: 'cleanup',
        durationMs: 'a time',
        hooks: [
          {
            name: 'cache',
            outcome: 'cut',
            durationMs: 'a time',
            error: { name: 'Pid1Error', code: 'PID1_HOOK_TIMEOUT', message: hookReport(ended, 'cache').error.message },
          },
          {
            name: 'database',
            outcome: 'failed',
            durationMs: 'a time',
            error: { name: 'Error', message: 'no such table' },
          },
        ],
      },
      { name: 'children', durationMs: 'a time', hooks: [] },
      { name: 'flush', durationMs: 'a time', hooks: [{ name: 'logs', outcome: 'done', durationMs: 'a time' }] },
      { name: 'sidecars', durationMs: 'a time', hooks: [] },
    ],
    connections: { drained: 0, ended: 0, cut: 0 },
    children: { terminated: 0, killed: 0 },
    errors: [],
    exitCode: 124,
  })
  assertTook(hookReport(ended, 'queue').durationMs, { over: 45 })
  assertTook(hookReport(ended, 'cache').durationMs, { over: 95 })
})

function startWithHooks(t: TestContext, pid1: boolean, hooks: readonly HookArgument[], options: object = {}): Run {
  const env = { OPTIONS: JSON.stringify(options) }
  return start(t, 'core/hooks.js', { pid1, env, args: hooks.map((hook) => JSON.stringify(hook)) })
}

function happened(ended: Ended): string[] {
  return ended.stdout.match(/^\w+ (begins|ends)/gm) ?? []
}

/** What a hook was told as its deadline, counted from the signal. */
function deadlineOf(ended: Ended, name: string): number {
  const told = new RegExp(`^${name} begins, deadline (\\S+)$`, 'm').exec(ended.stdout)?.[1]
  return Number(told) - reportIn(ended).startedAt
}

/** The clocks of a process may drift apart by a few milliseconds. */
function assertClose(came: number, expected: number): void {
  assert.ok(Math.abs(came - expected) <= 20, `Expected about ${expected}, got ${came}`)
}

function withoutTimes(report: ShutdownReport): unknown {
  const isTime = (key: string) => ['startedAt', 'durationMs', 'deadline'].includes(key)
  return JSON.parse(
    JSON.stringify(report, (key, value: unknown) => (isTime(key) && typeof value === 'number' ? 'a time' : value)),
  )
}

asChildAndPid1('resources are disposed of, each in its stage', async (t, pid1) => {
  const ended = await stop(start(t, 'core/resources.js', { pid1 }))
  assertEnded(ended, 0)
  assert.equal(ended.stdout, 'ready\nstack\nsync true\nof an object\nasync true\n')
})

test('a resource that fails is reported by its name', async (t) => {
  const ended = await stop(start(t, 'core/resources.js', { args: ['fails'] }))
  assertEnded(ended, 1)
  assert.match(ended.stderr, /^pid1: the hook "failing" failed: Error: of the resource/)
})
