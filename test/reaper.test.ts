import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { test, type TestContext } from 'node:test'
import { assertEnded, assertStoppedWell } from './helpers/report.ts'
import { asPid1, type Ended, fixturePath, type Run, type RunOptions, start } from './helpers/run.ts'

// After its death an orphan is left alone for one second. A busy machine may take longer; where none is reaped we wait less.
const enoughMs = 10_000
const littleMs = 3000

/** What a shell does that leaves so many orphans behind, which die together a second later. */
const orphans = (count: number): string => `i=0; while [ $i -lt ${count} ]; do sleep 1 & i=$((i + 1)); done`

asPid1('orphans are reaped, a hundred that die together and one alone', async (t) => {
  const ended = await leaveBehind(t, enoughMs, [orphans(100), orphans(1)]).ended
  assertStoppedWell(ended)
  assert.equal(ended.stdout, '100 children\n0 children\n1 children\n0 children\n')
})

asPid1('without the native part, or with reap: false, orphans stay zombies, and the end is good', async (t) => {
  const ways = [{ nodeArgs: ['--no-addons'] }, { env: { OPTIONS: '{"reap":false}' } }]
  for (const ended of await allEnded(ways.map((options) => leaveBehind(t, littleMs, [orphans(100)], options)))) {
    assertStoppedWell(ended)
    assert.equal(ended.stdout, '100 children\n100 children\n')
  }
})

asPid1('orphans of orphans are reaped, whichever dies first', async (t) => {
  const family =
    '(exec sleep 0.2 & (exec sleep 0.1 & exec sleep 0.3 &); exec sleep 0.1 &) & (exit 1 & exit 2 & sleep 0.2) &'
  const ended = await leaveBehind(t, enoughMs, [`${family} exec sleep 0.05`, `(${family}) &`]).ended
  assertStoppedWell(ended)
  assert.match(ended.stdout, /^[1-9]\d* children\n0 children\n[1-9]\d* children\n0 children\n$/)
})

asPid1('a debug line names each orphan, with its pid and its exit code', async (t) => {
  const codes = Array.from({ length: 20 }, (_, n) => Math.round((n * 255) / 19))
  const signals = ['SIGHUP', 'SIGKILL', 'SIGUSR1', 'SIGSEGV', 'SIGPIPE', 'SIGALRM', 'SIGTERM']
  const endings = [
    ...codes.map((code) => [`exit ${code}`, `code ${code}`]),
    ...signals.map((signal) => [`ulimit -c 0; kill -${signal.slice(3)} $$`, signal]),
    ['kill -40 $$', 'signal 40'],
  ]
  const script = endings.map(([ending], index) => `(sh -c 'echo orphan ${index} is $$.; ${ending}' &)`).join('\n')
  const ended = await leaveBehind(t, enoughMs, [script], { env: { DEBUG: 'pid1:reaper' } }).ended
  assertEnded(ended, 0)
  const told = [...ended.stderr.matchAll(/ reaped (\d+), which ended with (.*)$/gm)].map(
    ([, pid, end]) => `${pid}: ${end}`,
  )
  const expected = endings.map(([, end], index) => {
    const [, pid] = new RegExp(`^orphan ${index} is (\\d+)\\.$`, 'm').exec(ended.stdout) ?? []
    return `${pid}: ${end}`
  })
  assert.deepEqual(told.toSorted(), expected.toSorted())
})

asPid1('a child that ends in the same instant as an orphan keeps its exit code', async (t) => {
  const ended = await start(t, 'processes/exit-codes.js', { pid1: true, args: ['spawn with an orphan 500'] }).ended
  assertStoppedWell(ended)
  assert.equal(ended.stdout, 'spawn with an orphan 500: 0 wrong\n0 children\n')
})

asPid1('every way to start a child gets its exit code, while orphans are reaped', async (t) => {
  const ways = ['spawn 1000', 'spawn and unref 300', 'exec 200', 'execFile 200', 'fork 16', 'spawnSync 800']
  const elsewhere = ['node-pty 200', 'worker: spawn 600', 'worker: spawnSync 600', 'worker: exec 100']
  const args = [...ways, ...elsewhere]
  const ended = await start(t, 'processes/exit-codes.js', { pid1: true, args }).ended
  assertStoppedWell(ended)
  const lines = ended.stdout.trim().split('\n')
  assert.equal(lines.pop(), '0 children')
  assert.deepEqual(lines.toSorted(), args.map((arg) => `${arg}: 0 wrong`).toSorted())
})

asPid1(
  'children that were started before the import keep their exit codes, even if they had exited before it',
  async (t) => {
    const runs = ['required', 'imported'].map((how) => {
      return start(t, 'processes/before-import.js', { pid1: true, args: [how], nodeArgs: ['--no-warnings'] })
    })
    for (const ended of await allEnded(runs)) {
      assertStoppedWell(ended)
      assert.equal(ended.stdout, 'codes 1,2,3,4\n')
    }
  },
)

for (const [what, script] of [
  ['living', 'exec sleep 1'],
  ['dead', 'exit'],
] as const) {
  asPid1(`${what} children of a worker are reaped when it has exited, or was terminated`, async (t) => {
    const runs = ['exits', 'is terminated'].map((how) => {
      return start(t, 'processes/leaving-worker.js', { pid1: true, args: [how, script] })
    })
    for (const ended of await allEnded(runs)) {
      assertStoppedWell(ended)
      assert.equal(ended.stdout, '3 children\n0 children\n')
    }
  })
}

asPid1('a steady stream of orphans reaches a limit of 64 processes only without the native part', async (t) => {
  const [reaped, control] = (await allEnded([stream(t, []), stream(t, ['--no-addons'])])).map(countedBy)
  assert.ok(reaped?.failed === 0 && reaped.most < 64, JSON.stringify(reaped))
  assert.ok(control !== undefined && (control.failed > 0 || control.most >= 64), JSON.stringify(control))
})

asPid1('what the entrypoint had started before Node is reaped when it dies', async (t) => {
  const node = [process.execPath, fixturePath('processes/left-behind.js'), String(enoughMs), ':']
  const runs: Run[] = []
  // Several, for some begin in the same tick of the kernel's clock as Node; in turn, for Node takes longer where others start.
  for (let n = 0; n < 6; n++) {
    const run = start(t, '', { pid1: true, command: ['sh', '-c', 'sleep 1 & exec "$@"', 'sh', ...node] })
    runs.push(run)
    await run.line(/^1 children/)
  }
  for (const ended of await allEnded(runs)) {
    assertStoppedWell(ended)
    assert.equal(ended.stdout, '1 children\n0 children\n')
  }
})

test('a process other than PID 1 adopts orphans only with reap: true, and reaps them', async (t) => {
  for (const [options, count] of [
    [{ reap: true }, 3],
    [{}, 0],
  ] as const) {
    const env = { OPTIONS: JSON.stringify(options) }
    const ended = await leaveBehind(t, enoughMs, [orphans(3)], { pid1: false, env }).ended
    assertStoppedWell(ended)
    assert.equal(ended.stdout, `${count} children\n0 children\n`)
  }
})

asPid1('with reap: false no child is kept in memory', async (t) => {
  const ended = await start(t, 'processes/kept.js', { pid1: true, nodeArgs: ['--no-warnings'] }).ended
  assertStoppedWell(ended)
  assert.match(ended.stdout, /^\d kept\n$/)
})

asPid1('where the kernel has no list of children, orphans are reaped and children keep their exit codes', async (t) => {
  const node = [process.execPath, fixturePath('processes/exit-codes.js')]
  const ways = ['spawn 200', 'spawnSync 100', 'worker: spawn 200', 'worker: spawnSync 100']
  // The mem file of a process that is over cannot be opened.
  const hide = 'mount --bind /proc/self/mem /proc/1/task/1/children && ! cat /proc/1/task/1/children 2>&1 && exec "$@"'
  const ended = await start(t, '', { pid1: true, command: ['sh', '-c', hide, 'sh', ...node, ...ways] }).ended
  assertStoppedWell(ended)
  assert.match(ended.stdout, /^cat: [^\n]*\n/)
  assert.equal(ended.stdout.match(/: 0 wrong\n/g)?.length, ways.length, ended.stdout)
  assert.match(ended.stdout, /\n0 children\n$/)
})

asPid1('no timer is started while there is nobody to wait for', async (t) => {
  const count = (script: string) => start(t, 'processes/idle.js', { pid1: true, args: [script] }).ended
  const [nobody, control] = await Promise.all([count('(exit 9 &)'), count('(exec sleep 60 &)')])
  assertStoppedWell(nobody)
  assert.equal(nobody.stdout, '0 timers\n')
  assertStoppedWell(control)
  assert.match(control.stdout, /^[1-3] timers\n$/)
})

asPid1('an app that removes all listeners of SIGCHLD does not stop the reaper', async (t) => {
  const ended = await start(t, 'processes/listeners-removed.js', { pid1: true }).ended
  assertStoppedWell(ended)
  assert.equal(ended.stdout, '1 children\n0 children\n')
})

function leaveBehind(t: TestContext, ms: number, scripts: readonly string[], options: RunOptions = {}): Run {
  return start(t, 'processes/left-behind.js', { pid1: true, args: [String(ms), ...scripts], ...options })
}

function allEnded(runs: readonly Run[]): Promise<Ended[]> {
  return Promise.all(runs.map(({ ended }) => ended))
}

/** Orphans for six seconds, where there may be 64 processes and threads. */
function stream(t: TestContext, nodeArgs: readonly string[]): Run {
  return start(t, 'processes/steady-orphans.js', { pid1: true, args: ['6'], nodeArgs, inside: withLimit(t, 64) })
}

/** How many processes and threads there were at most, and how many could not be started. */
function countedBy(ended: Ended): { most: number; failed: number } {
  assertStoppedWell(ended)
  const [, most, failed] = /^at most (\d+), (\d+) failed\n$/.exec(ended.stdout) ?? []
  return { most: Number(most), failed: Number(failed) }
}

/** The wrapper that limits the processes and threads of what follows; none where no control group may be made. */
function withLimit(t: TestContext, count: number): readonly string[] {
  for (const root of ['/sys/fs/cgroup/pids', '/sys/fs/cgroup']) {
    const group = `${root}/pid1-${randomUUID()}`
    try {
      mkdirSync(group)
      t.after(() => rmdirSync(group))
      writeFileSync(`${group}/pids.max`, String(count))
      return ['sh', '-c', `echo $$ >${group}/cgroup.procs && exec "$@"`, 'sh']
    } catch {
      // not that version of control groups, not root, or not this controller
    }
  }
  return []
}
