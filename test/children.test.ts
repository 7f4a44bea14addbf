import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import cluster from 'node:cluster'
import { EventEmitter } from 'node:events'
import { constants } from 'node:os'
import { test, type TestContext } from 'node:test'
import { Worker } from 'node:worker_threads'
import { type ChildrenReport, Pid1Error, type SupervisedChild, superviseChild, type SuperviseOptions } from 'pid1'
import { assertEnded, assertStoppedWell, reportIn } from './helpers/report.ts'
import {
  asChildAndPid1,
  asPid1,
  type Ended,
  fixturePath,
  type Run,
  type RunOptions,
  skipBecause,
  start,
} from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

/** What a shell does, and how it is supervised, if it is. */
type Child = readonly [script: string, options?: SuperviseOptions]

asPid1('descendants get SIGTERM after the cleanup hooks, and have exited before the flush hooks run', async (t) => {
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

asPid1('a child that is stopped (SIGSTOP) is continued, so that it gets SIGTERM', async (t) => {
  const run = start(t, 'processes/stopped.js', { pid1: true })
  await run.line(/stopped/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.match(ended.stdout, /^child ready\nstopped\nchild heard SIGTERM\n/)
  assertChildren(ended, { terminated: 1, killed: 0 })
})

asPid1('a process that is started while the others exit gets SIGTERM too', async (t) => {
  const ended = await stopWhenReady(startFamily(t, [[member('has another child', 'child')]]), ['child'])
  assertStoppedWell(ended)
  assertChildren(ended, { terminated: 2, killed: 0 })
  assertTook(ended.ms, { under: 5000 })
})

asPid1('a process that a child starts for its own clean-up gets no SIGTERM', async (t) => {
  const run = start(t, 'processes/cleans-up.js', { pid1: true })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.match(ended.stdout, /^saved$/m)
  const { terminated, killed } = reportIn(ended).children
  assert.equal(killed, 0)
  assert.ok(terminated <= 2, `${terminated} were asked`) // bash, and the `sleep` of its loop
})

asPid1('a process that a flush hook has started gets SIGTERM too', async (t) => {
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

asPid1('children that may not be signalled are named once, not waited for and not counted', async (t) => {
  if (!mayChangeUser) return skipBecause(t, 'only root may start children of another user')
  const other = 'setpriv --reuid=65534 --clear-groups'
  // One that is older than Node, one of its children, what that one has started, and one that is supervised.
  const entrypoint = `${other} sleep 61 & exec ${withoutCapKill} "$@"`
  const family = startFamily(
    t,
    [
      [`exec ${other} sh -c 'echo foreign ready; sleep 62 & sleep 63'`],
      [`echo supervised ready; exec ${other} sleep 64`, {}],
      [member('polite', 'child')],
      [`exec ${other} sh -c 'kill -STOP $$'`, { sidecar: true }],
    ],
    { before: ['sh', '-c', entrypoint, 'sh'] },
  )
  const ended = await stopWhenReady(family, ['foreign', 'supervised', 'child'])
  assertEnded(ended, 0)
  assert.deepEqual(afterReady(ended), ['cleanup', 'child heard SIGTERM', 'flush'])
  assertChildren(ended, { terminated: 1, killed: 0 })
  const lines = ended.stderr.trimEnd().split('\n')
  const named = lines.flatMap((line) => {
    assert.match(
      line,
      /^pid1: it is not permitted to signal ("\w+" \(pid \d+\)(, )?)+: the shutdown does not wait for them$/,
    )
    return [...line.matchAll(/"(\w+)" \(pid/g)].map(([, name]) => String(name))
  })
  assert.deepEqual(named.toSorted(), ['sh', 'sh', 'sleep', 'sleep', 'sleep', 'sleep'])
  assert.ok(lines.length <= 2, 'one line for each stage')
  assertTook(ended.ms, { under: 3000 })
})

asPid1('a child that becomes another user when it is asked to end is not reported as killed', async (t) => {
  if (!mayChangeUser) return skipBecause(t, 'only root may start children of another user')
  const becomeOther = 'exec setpriv --reuid=65534 --clear-groups sleep 60'
  const child = `trap "${becomeOther}" TERM; echo child ready; sleep 60 & wait`
  const before = ['sh', '-c', `exec ${withoutCapKill} "$@"`, 'sh']
  const family = startFamily(t, [[child, { timeoutMs: 500 }]], { before })
  const ended = await stopWhenReady(family, ['child'])
  assertEnded(ended, 0)
  assert.equal(reportIn(ended).children.killed, 0)
  assert.match(ended.stderr, /^pid1: it is not permitted to signal "sh" \(pid \d+\): [^\n]+\n$/)
  assertTook(ended.ms, { under: 3000 })
})

asChildAndPid1('however many hooks there are, descendants are not counted before each', async (t, pid1) => {
  const ended = await start(t, 'processes/many-descendants.js', { pid1, args: ['200'] }).ended
  assertStoppedWell(ended)
  assertChildren(ended, { terminated: 201, killed: 0 })
  const reads = Number(/^(\d+) reads$/m.exec(ended.stdout)?.[1])
  assert.ok(reads < 2000, `${reads} reads`)
})

asPid1('descendants are asked to end though the app has used up all file descriptors', async (t) => {
  const node = [process.execPath, fixturePath('processes/no-descriptors.js')]
  const run = start(t, '', { pid1: true, command: ['sh', '-c', 'ulimit -n 64; exec "$@"', 'sh', ...node] })
  await run.line(/EMFILE/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertChildren(ended, { terminated: 2, killed: 0 })
  assert.match(ended.stdout, /^child is done$/m)
})

// Each starts another child or worker for each that ends, and does not ask whether a shutdown runs.
for (const [way, what, most] of [
  ['exit', 'a cluster that forks again at once', 16],
  ['disconnect', 'a cluster that forks again when a worker has disconnected', 16],
  ['delay', 'a cluster that forks again after a moment', 16],
  ['flag', 'a cluster that forks again unless a worker was told to go', 0],
  ['child', 'an app that starts a child again', 16],
  ['supervised', 'an app that starts and supervises a child again', 16],
] as const) {
  asChildAndPid1(`${what} starts only a few during a shutdown, which does not wait for them`, async (t, pid1) => {
    const args = [way, JSON.stringify(way === 'child' ? { children: 'terminate' } : {})]
    const run = start(t, 'processes/started-again.js', { pid1, args })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertStoppedWell(ended)
    const late = Number(/^(\d+) late$/m.exec(ended.stdout)?.[1])
    assert.ok(late <= most, `${late} started`)
    assertTook(ended.ms, { under: 3000 })
  })
}

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
  assertTook(ended.ms, { under: 5000 })
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

asPid1('a child whose exit ends the service ends the other children too', async (t) => {
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

for (const [program, code, name] of [
  ['/no/such/program', 127, 'ENOENT'],
  ['/dev/null', 126, 'EACCES'],
] as const) {
  for (const when of ['at once', 'late'] as const) {
    asChildAndPid1(
      `a child that fails with ${name} ends the service with ${code}, supervised ${when}`,
      async (t, pid1) => {
        const ended = await start(t, 'processes/ends-not-started.js', { pid1, args: [program, when] }).ended
        assertEnded(ended, code)
        assert.match(ended.stdout, new RegExp(`^a child could not be started: ${name}\n$`))
        assert.equal(ended.stderr, '')
      },
    )
  }
}

asChildAndPid1('signals are passed on to a supervised child while it runs, and start no shutdown', async (t, pid1) => {
  const run = start(t, 'processes/forward.js', { pid1 })
  await run.line(/ready/)
  run.signal('SIGHUP')
  await run.line(/HUP/)
  run.signal('SIGUSR1')
  await run.line(/USR1\nstill alive\nchild gone\n/)
  run.signal('SIGUSR1') // which nobody wants any more
  run.signal('SIGHUP')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.equal(ended.stdout, 'ready\nHUP\nUSR1\nstill alive\nchild gone\n')
})

asChildAndPid1('a child that is supervised no more does not end the service', async (t, pid1) => {
  const run = start(t, 'processes/not-supervised.js', { pid1 })
  await run.line(/still alive/)
  run.signal('SIGTERM')
  assertStoppedWell(await run.ended)
})

asPid1('supervising a child that has already exited sends no signal to the process that has its pid now', async (t) => {
  // Not as PID 1, which ends all.
  const node = [process.execPath, fixturePath('processes/supervised-too-late.js')]
  const command = ['sh', '-c', '"$@"; exit $?', 'sh', ...node]
  const ended = await start(t, '', { pid1: true, command, env: { PID1_WARNINGS: '0' } }).ended
  assertStoppedWell(ended)
  assert.match(ended.stdout, /^same pid: true$/m)
  assertChildren(ended, { terminated: 0, killed: 0 })
})

asPid1('unregistering a supervision twice does not affect the next one', async (t) => {
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

asPid1("with children: 'leave' only supervised children get SIGTERM", async (t) => {
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
// What `cluster.fork()` returns. Its class is not among the types.
const { Worker: ClusterWorker } = cluster as unknown as { readonly Worker: new (options: object) => EventEmitter }
const emitter = new EventEmitter()
const child = Object.assign(emitter, { pid: undefined, kill: () => true }) as unknown as SupervisedChild

const { proxy: revoked, revoke } = Proxy.revocable({}, {})
revoke()
type BadCall = readonly [what: string, call: () => unknown, expected: RegExp, came: RegExp]

const badCalls: readonly BadCall[] = [
  ['no child', () => superviseChild(untyped(undefined)), /child.*child process/, /undefined/],
  ['a pid', () => superviseChild(untyped(42)), /child.*child process/, /42 \(number\)/],
  ['an object that is no child', () => superviseChild(untyped({ pid: 42 })), /child.*child process/, /pid: 42/],
  ['an emitter', () => superviseChild(untyped(new EventEmitter())), /child.*child process/, /EventEmitter/],
  [
    'a worker thread',
    () => {
      const thread = new Worker('', { eval: true })
      superviseChild(untyped(thread), { endsService: true })
    },
    /child.*child process/,
    /Worker/,
  ],
  [
    'a cluster worker',
    () => superviseChild(untyped(new ClusterWorker({ process: spawn('true') })), { endsService: true }),
    /child.*child process/,
    /Worker.*: write worker\.process$/s,
  ],
  ['a revoked proxy', () => superviseChild(untyped(revoked)), /child.*child process/, /a revoked proxy/],
  ...(['SIGSTOP', 'SIGTSTP', 'SIGTTIN', 'SIGTTOU', 'SIGCONT', 'SIGCHLD', 'SIGURG'] as const).map((signal): BadCall => [
    `${signal} to end a child`,
    () => superviseChild(child, { signal }),
    /`signal`.*ends a process, such as "SIGTERM"/,
    new RegExp(`got "${signal}"`),
  ]),
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
    'to forward SIGTERM',
    () => superviseChild(child, { forward: ['SIGHUP', 'SIGTERM'] }),
    /forward.*not SIGTERM, SIGINT/,
    /SIGTERM/,
  ],
  [
    'endsService as a number',
    () => superviseChild(child, untyped({ endsService: 1 })),
    /endsService.*true or false/,
    /1 \(number\)/,
  ],
]

for (const [what, call, expected, came] of badCalls) {
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

/** Another user's id has to be mapped, which it is not in a user namespace that only maps its root. */
const mayChangeUser = process.getuid?.() === 0

/** What is started as this root may signal only processes of root. */
const withoutCapKill = 'setpriv --bounding-set=-kill --inh-caps=-kill'

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
