import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { constants } from 'node:os'
import { test, type TestContext } from 'node:test'
import { type ChildrenReport, Pid1Error, type SupervisedChild, superviseChild, type SuperviseOptions } from 'pid1'
import { assertEnded, assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, asPid1, type Ended, fixturePath, type Run, type RunOptions, start } from './helpers/run.ts'

/** What a shell does, and how it is supervised, if it is. */
type Child = readonly [script: string, options?: SuperviseOptions]

asPid1('descendants are asked to end after the cleanup hooks, and waited for before those of flush', async (t) => {
  const family = startFamily(t, [
    [member('slow', 'child', 'grandchild', 'youngest')],
    [`(${member('slow', 'orphan')} &)`],
  ])
  const ended = await stopWhenReady(family, ['child', 'grandchild', 'youngest', 'orphan'])
  assertStoppedWell(ended)
  const said = afterReady(ended)
  assert.deepEqual([said.shift(), said.pop()], ['cleanup', 'flush'])
  const names = ['child', 'grandchild', 'orphan', 'youngest']
  assert.deepEqual(
    said.toSorted(),
    names.flatMap((name) => [`${name} heard SIGTERM`, `${name} is done`]),
  )
  assertChildren(ended, { terminated: 4, killed: 0 })
})

asPid1('descendants that stay are killed in time for the flush hooks, and the end is good', async (t) => {
  const children: Child[] = [[member('stubborn', 'child', 'grandchild')], [member('polite', 'sibling')]]
  const family = startFamily(t, children, { env: { PID1_GRACE_PERIOD: '3s' } })
  const ended = await stopWhenReady(family, ['child', 'grandchild', 'sibling'])
  assertStoppedWell(ended)
  const said = afterReady(ended)
  assert.deepEqual([said.shift(), said.pop()], ['cleanup', 'flush'])
  assert.deepEqual(said.toSorted(), ['child heard SIGTERM', 'grandchild heard SIGTERM', 'sibling heard SIGTERM'])
  assertChildren(ended, { terminated: 1, killed: 2 })
  const { startedAt, durationMs, deadline } = reportIn(ended)
  assert.ok(startedAt + durationMs < deadline, `${startedAt} + ${durationMs} < ${deadline}`)
})

asPid1('a child that is stopped is woken to hear of the end', async (t) => {
  const run = start(t, 'processes/stopped.js', { pid1: true })
  await run.line(/stopped/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.match(ended.stdout, /^child ready\nstopped\nchild heard SIGTERM\n/)
  assertChildren(ended, { terminated: 1, killed: 0 })
})

asPid1('a process that is started while the others end is asked to end as well', async (t) => {
  const ended = await stopWhenReady(startFamily(t, [[member('has another child', 'child')]]), ['child'])
  assertStoppedWell(ended)
  assertChildren(ended, { terminated: 2, killed: 0 })
  assert.ok(ended.ms < 5000, `ended after ${ended.ms} ms`)
})

asPid1('what a flush hook has started is asked to end as well', async (t) => {
  const ended = await start(t, 'processes/started-by-flush.js', { pid1: true }).ended
  assertStoppedWell(ended)
  assertChildren(ended, { terminated: 1, killed: 0 })
})

asPid1('pipelines in the background end as a whole', async (t) => {
  const pipelines = 'sleep 60 | cat & sleep 60 | cat >&2 & echo pipelines ready; wait'
  const ended = await stopWhenReady(startFamily(t, [[pipelines]]), ['pipelines'])
  assertStoppedWell(ended)
  const { terminated, killed } = reportIn(ended).children
  assert.ok(terminated >= 5 && killed === 0, `${terminated} terminated, ${killed} killed`)
})

asPid1('a process that entered from outside is not asked to end', async (t) => {
  const family = startFamily(t, [[member('polite', 'child')]])
  await family.line(/child ready/)
  const visitor = start(t, '', {
    command: [...enter(family), process.execPath, fixturePath('processes/member.js'), 'polite', 'visitor'],
  })
  await visitor.line(/visitor ready/)
  const ended = await stopWhenReady(family, ['child'])
  assertStoppedWell(ended)
  assert.deepEqual(afterReady(ended), ['cleanup', 'child heard SIGTERM', 'flush'])
  assertChildren(ended, { terminated: 1, killed: 0 })
  const { signal, stdout } = await visitor.ended
  assert.deepEqual({ signal, stdout }, { signal: 'SIGKILL', stdout: 'visitor ready\n' })
})

asPid1('the orphan of a process that entered from outside is reaped', async (t) => {
  const run = start(t, 'processes/counting.js', { pid1: true })
  await run.line(/^0 children/)
  assertEnded(await start(t, '', { command: [...enter(run), 'sh', '-c', '(exec sleep 1 &)'] }).ended, 0)
  await run.line(/^1 children\n0 children/m)
  run.signal('SIGTERM')
  assertStoppedWell(await run.ended)
})

asPid1('sidecars are asked to end after the flush hooks, with what they have started', async (t) => {
  // One that the entrypoint has started, before Node.
  const entrypoint = `NODE=${process.execPath}; (${member('slow', 'proxy', 'its-child')}) & exec "$@"`
  const supervised: Child = [member('slow', 'shipper', 'its-own'), { sidecar: true }]
  const family = startFamily(t, [supervised, [member('slow', 'child')]], { before: ['sh', '-c', entrypoint, 'sh'] })
  const ended = await stopWhenReady(family, ['proxy', 'its-child', 'shipper', 'its-own', 'child'])
  assertStoppedWell(ended)
  const said = afterReady(ended)
  assert.deepEqual(said.splice(0, 4), ['cleanup', 'child heard SIGTERM', 'child is done', 'flush'])
  const names = ['its-child', 'its-own', 'proxy', 'shipper']
  assert.deepEqual(
    said.toSorted(),
    names.flatMap((name) => [`${name} heard SIGTERM`, `${name} is done`]),
  )
  assertChildren(ended, { terminated: 5, killed: 0 })
})

asPid1('a sidecar that stays is killed before the deadline', async (t) => {
  const env = { PID1_GRACE_PERIOD: '3s' }
  const family = startFamily(t, [[member('stubborn', 'proxy'), { sidecar: true }]], { env })
  const ended = await stopWhenReady(family, ['proxy'])
  assertStoppedWell(ended)
  assert.deepEqual(afterReady(ended), ['cleanup', 'flush', 'proxy heard SIGTERM'])
  assertChildren(ended, { terminated: 0, killed: 1 })
})

asChildAndPid1('a supervised child is asked with its signal, and has its time', async (t, pid1) => {
  const children: Child[] = [
    [member('slow', 'usual'), {}],
    [member('slow', 'other'), { signal: 'SIGUSR2' }],
    [member('stubborn', 'stubborn'), { signal: 'SIGINT', timeoutMs: 200 }],
  ]
  const ended = await stopWhenReady(startFamily(t, children, { pid1 }), ['usual', 'other', 'stubborn'])
  assertStoppedWell(ended)
  const said = afterReady(ended)
  assert.deepEqual([said.shift(), said.pop()], ['cleanup', 'flush'])
  const others = ['other heard SIGUSR2', 'other is done', 'stubborn heard SIGINT']
  assert.deepEqual(said.toSorted(), [...others, 'usual heard SIGTERM', 'usual is done'])
  assertChildren(ended, { terminated: 2, killed: 1 })
  assert.ok(ended.ms < 5000, `ended after ${ended.ms} ms`)
})

asChildAndPid1('a child that ends the service gives it its exit code', async (t, pid1) => {
  const codes = [0, 1, 2, 32, 64, 127, 254, 255].map((code) => [`exit ${code}`, code, `code ${code}`] as const)
  const signals = (['SIGTERM', 'SIGKILL', 'SIGHUP', 'SIGSEGV'] as const).map((signal) => {
    return [`ulimit -c 0; kill -${signal.slice(3)} $$`, 128 + constants.signals[signal], signal] as const
  })
  await Promise.all(
    [...codes, ...signals].map(async ([script, code, how]) => {
      const ended = await startFamily(t, [[script, { endsService: true }]], { pid1 }).ended
      assertEnded(ended, code)
      assert.equal(ended.stderr, '')
      assert.deepEqual(afterReady(ended), ['cleanup', 'flush'])
      assert.match(reportIn(ended).reason, new RegExp(`^child \\d+ ended with ${how}$`))
    }),
  )
})

asPid1('a child that ends the service takes the others with it', async (t) => {
  const children: Child[] = [[member('polite', 'other')], ['sleep 1; exit 7', { endsService: true }]]
  const ended = await startFamily(t, children).ended
  assertEnded(ended, 7)
  assertChildren(ended, { terminated: 1, killed: 0 })
})

asChildAndPid1('a child that ends the service does so too where it had ended before', async (t, pid1) => {
  const ended = await start(t, 'processes/ended-already.js', { pid1 }).ended
  assertEnded(ended, 3)
  assert.deepEqual([ended.stdout, ended.stderr], ['hook runs\n', ''])
})

asChildAndPid1('a child that is supervised no more does not end the service', async (t, pid1) => {
  const run = start(t, 'processes/not-supervised.js', { pid1 })
  await run.line(/still alive/)
  run.signal('SIGTERM')
  assertStoppedWell(await run.ended)
})

asPid1('a child that had ended before it was supervised costs nobody anything who has its pid now', async (t) => {
  // Not as PID 1, which ends all.
  const node = [process.execPath, fixturePath('processes/supervised-too-late.js')]
  const ended = await start(t, '', { pid1: true, command: ['sh', '-c', '"$@"; exit $?', 'sh', ...node] }).ended
  assertStoppedWell(ended)
  assert.match(ended.stdout, /^same pid: true$/m)
  assertChildren(ended, { terminated: 0, killed: 0 })
})

asPid1('a supervision that is undone twice does not undo the next one', async (t) => {
  const run = start(t, 'processes/supervised-again.js', { pid1: true })
  await run.line(/child ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.match(ended.stdout, /^child heard SIGUSR2$/m)
})

asChildAndPid1('a child that could not be started can be supervised', async (t, pid1) => {
  const node = [process.execPath, fixturePath('processes/not-started.js')]
  const ended = await start(t, '', { pid1, command: ['sh', '-c', 'ulimit -n 64; exec "$@"', 'sh', ...node] }).ended
  assertStoppedWell(ended)
  assert.equal(ended.stdout, 'ENOENT\nEMFILE\n')
})

for (const [what, options, count] of [
  ['are left alone', {}, 1],
  ["are ended with children: 'terminate'", { children: 'terminate' }, 2],
] as const) {
  test(`outside PID 1 supervised children are ended, and others ${what}`, async (t) => {
    const other: Child = ['echo "pid $$."; exec sleep 60 >/dev/null 2>&1']
    const env = { OPTIONS: JSON.stringify(options) }
    const family = startFamily(t, [[member('polite', 'child'), {}], other], { pid1: false, env })
    const pid = Number((await family.line(/^pid (\d+)\.$/m))[1])
    t.after(() => isAlive(pid) && process.kill(pid, 'SIGKILL'))
    const ended = await stopWhenReady(family, ['child'])
    assertStoppedWell(ended)
    assert.match(ended.stdout, /^child heard SIGTERM$/m)
    assertChildren(ended, { terminated: count, killed: 0 })
    assert.equal(isAlive(pid), count === 1)
  })
}

asPid1("with children: 'leave' only supervised children are asked to end", async (t) => {
  const children: Child[] = [[member('polite', 'child')], [member('polite', 'supervised'), {}]]
  const family = startFamily(t, children, { env: { OPTIONS: '{"children":"leave"}' } })
  const ended = await stopWhenReady(family, ['child', 'supervised'])
  assertStoppedWell(ended)
  assert.deepEqual(afterReady(ended), ['cleanup', 'supervised heard SIGTERM', 'flush'])
  assertChildren(ended, { terminated: 1, killed: 0 })
})

asPid1('where /proc is hidden only supervised children are asked to end, and the end is good', async (t) => {
  const before = ['sh', '-c', 'mount -t tmpfs none /proc && exec "$@"', 'sh']
  const family = startFamily(t, [[member('polite', 'child')], [member('polite', 'supervised'), {}]], { before })
  const ended = await stopWhenReady(family, ['child', 'supervised'])
  assertStoppedWell(ended)
  assert.deepEqual(afterReady(ended), ['cleanup', 'supervised heard SIGTERM', 'flush'])
  assertChildren(ended, { terminated: 1, killed: 0 })
})

asChildAndPid1('a child begins with the signals that it would have without the package', async (t, pid1) => {
  const ended = await start(t, 'processes/signals-of-children.js', { pid1 }).ended
  assertStoppedWell(ended)
  assert.match(ended.stdout, /^SigBlk:\t[0-9a-f]+\nSigIgn:\t[0-9a-f]+\n true\n$/)
})

const untyped = (value: unknown) => value as never
const emitter = new EventEmitter()
const child = Object.assign(emitter, { pid: undefined }) as unknown as SupervisedChild

for (const [what, call, expected, came] of [
  ['no child', () => superviseChild(untyped(undefined)), /child.*child process/, /undefined/],
  ['a pid', () => superviseChild(untyped(42)), /child.*child process/, /42 \(number\)/],
  ['an object that is no child', () => superviseChild(untyped({ pid: 42 })), /child.*child process/, /pid: 42/],
  ['options that are null', () => superviseChild(child, untyped(null)), /options.*object/, /null/],
  ['an unknown option', () => superviseChild(child, untyped({ timeout: 5 })), /timeoutMs/, /"timeout" \(string\)/],
  [
    'a signal that is a number',
    () => superviseChild(child, untyped({ signal: 15 })),
    /signal.*"SIGTERM"/,
    /15 \(number\)/,
  ],
  [
    'a signal that is none',
    () => superviseChild(child, untyped({ signal: 'TERM' })),
    /signal.*"SIGTERM"/,
    /"TERM" \(string\)/,
  ],
  [
    'a time with a unit',
    () => superviseChild(child, untyped({ timeoutMs: '5s' })),
    /timeoutMs.*0 or more/,
    /"5s" \(string\)/,
  ],
  ['a negative time', () => superviseChild(child, { timeoutMs: -1 }), /timeoutMs.*0 or more/, /-1 \(number\)/],
  [
    'sidecar as text',
    () => superviseChild(child, untyped({ sidecar: 'yes' })),
    /sidecar.*true or false/,
    /"yes" \(string\)/,
  ],
  [
    'endsService as a number',
    () => superviseChild(child, untyped({ endsService: 1 })),
    /endsService.*true or false/,
    /1 \(number\)/,
  ],
] as const) {
  test(`superviseChild refuses ${what}, and says what was expected and what came`, () => {
    assert.throws(call, (error: unknown) => {
      assert.ok(error instanceof Pid1Error)
      assert.equal(error.code, 'PID1_INVALID_OPTION')
      assert.match(error.message, expected)
      assert.match(error.message, came)
      return true
    })
    assert.equal(emitter.listenerCount('exit'), 0)
  })
}

interface FamilyOptions extends RunOptions {
  /** Runs before Node, which it becomes. */
  readonly before?: readonly string[]
}

function startFamily(t: TestContext, children: readonly Child[], { before = [], ...options }: FamilyOptions = {}): Run {
  const args = children.map((each) => JSON.stringify(each))
  const command = [...before, process.execPath, fixturePath('processes/family.js'), ...args]
  return start(t, '', { pid1: true, command, ...options })
}

/** What a shell does to become one of the family: its manners, its name, and the names of its descendants. */
function member(manners: string, ...names: string[]): string {
  return `exec "$NODE" processes/member.js '${manners}' ${names.join(' ')}`
}

async function stopWhenReady(run: Run, names: readonly string[]): Promise<Ended> {
  await Promise.all(['', ...names].map((name) => run.line(new RegExp(`^${name} ?ready$`, 'm'))))
  run.signal('SIGTERM')
  return run.ended
}

/** What was said from the beginning of the shutdown on. */
function afterReady({ stdout }: Ended): string[] {
  return stdout.split('\n').filter((line) => line !== '' && !/ready$|^report /.test(line))
}

function assertChildren(ended: Ended, expected: ChildrenReport): void {
  assert.deepEqual(reportIn(ended).children, expected)
}

/** The wrapper with which `docker exec` would let a process in. */
function enter(run: Run): readonly string[] {
  const user = process.getuid?.() === 0 ? [] : ['--user', '--preserve-credentials']
  return ['nsenter', `--target=${run.pid}`, ...user, '--pid', '--mount']
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false // no such process
  }
}
