import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { stopBusy } from './helpers/busy.ts'
import type { Load } from './helpers/load.ts'
import { assertEnded, assertStoppedWell } from './helpers/report.ts'
import { asChildAndPid1, asPid1, type Ended, type Run, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

// Apps that know nothing of this package. Each control is the same app without `pid1/register`.

const register = ['--import', 'pid1/register']

interface End {
  /** What it prints between the signal and its exit. */
  readonly says?: readonly string[]
  readonly code?: number
  readonly complains?: RegExp
  /** Slower than this is too slow. */
  readonly under?: number
}

const ends: Readonly<Record<string, End>> = {
  'no listener': {},
  'exits with 0': {},
  'exits with 3': { code: 3 },
  'closes the server, and exits': {},
  'closes the server, and fails on an error': {},
  'waits for the event close': {},
  'closes all connections, and exits': {},
  'closes the database at once': { says: ['database closed'] },
  'awaits its clean-up': { says: ['database closed'] },
  'only sets a flag': { says: ['left the loop'] },
  'sets the exit code': { says: ['database closed'], code: 5 },
  'raises the signal again': { says: ['database closed'], code: 143 },
  throws: { code: 1, complains: /^Error: of the listener$/m },
  rejects: { code: 1, complains: /^Error: of the listener$/m },
  'fails later': { code: 1, complains: /^Error: of the clean-up$/m },
  'never ends': {
    code: 124,
    complains:
      /^pid1: the SIGTERM listener of .*ends\.js:\d+:\d+ did not end the process within \d+ ms, so it is ended now\n$/,
    under: 3990,
  },
}

for (const [end, { says = [], code = 0, complains = /^$/, under = 2500 }] of Object.entries(ends)) {
  asChildAndPid1(`register: an app that ${end} loses no request of 200 busy clients`, async (t, pid1) => {
    const { ended, lost, statuses } = await stopBusy(t, 'register/ends.js', { args: [end], pid1, nodeArgs: register })
    if (end === 'raises the signal again' && !pid1) assert.deepEqual([ended.code, ended.signal], [null, 'SIGTERM'])
    else assertEnded(ended, code)
    assert.match(ended.stderr, complains)
    assert.deepEqual(linesOf(ended), [...says, `exit ${code}`])
    assert.deepEqual([lost, Object.keys(statuses)], [0, ['200']])
    assertTook(ended.ms, { under })
  })

  test(`an app that ${end} loses requests: the control`, async (t) => {
    const { lost, statuses } = await stopBusy(t, 'register/ends.js', { args: [end], killAfterMs: 1000 })
    assert.ok(lost > 0 || statuses['500'] !== undefined, `lost ${lost}, ${JSON.stringify(statuses)}`)
  })
}

const apps: Readonly<Record<string, { readonly says?: readonly string[]; readonly load?: Load }>> = {
  https: { load: { tls: true } },
  http2: { load: { streams: 4, clients: 50 } },
  express: {},
  'express-4': {},
  koa: {},
  fastify: { says: ['preClose', 'onClose'] },
  'fastify that closes itself': { says: ['onClose', 'closed'] },
  hono: {},
  nest: { says: ['onApplicationShutdown SIGTERM'] },
  ws: {},
  'socket.io': {},
}

for (const [name, { says = [], load = {} }] of Object.entries(apps)) {
  asChildAndPid1(`register: ${name} loses no request of 200 busy clients`, async (t, pid1) => {
    const { ended, lost, statuses } = await stopBusy(
      t,
      'register/apps.js',
      { args: [name], pid1, nodeArgs: register },
      load,
    )
    assertStoppedWell(ended)
    assert.deepEqual(linesOf(ended), [...says, 'exit 0'])
    assert.deepEqual([lost, Object.keys(statuses)], [0, ['200']])
    assertTook(ended.ms, { under: 2500 })
  })

  if (name === 'http2') continue // Node 26 loses none
  test(`${name} loses requests: the control`, async (t) => {
    const { lost, statuses } = await stopBusy(t, 'register/apps.js', { args: [name], killAfterMs: 1000 }, load)
    assert.ok(lost > 0 || Object.keys(statuses).length > 1, `lost ${lost}, ${JSON.stringify(statuses)}`)
  })
}

for (const handler of [
  'no listener',
  'kills its workers',
  'forks again',
  'exits with the first',
  'sends a message',
  'exits',
] as const) {
  asChildAndPid1(`register: a cluster that ${handler} loses no request of 200 busy clients`, async (t, pid1) => {
    const { ended, lost } = await stopBusy(t, 'register/others.js', {
      args: ['cluster', handler],
      pid1,
      nodeArgs: register,
    })
    assertStoppedWell(ended)
    assert.deepEqual(
      linesOf(ended).filter((line) => !line.startsWith('listening')),
      handler === 'kills its workers' || handler === 'exits'
        ? ['primary']
        : handler === 'sends a message'
          ? ['cleaned up', 'cleaned up']
          : [],
    )
    assert.equal(lost, 0)
    assertTook(ended.ms, { under: 2500 })
  })
}

asChildAndPid1('register: a process that forks a server, and passes the signal on, ends with it', async (t, pid1) => {
  const env = { NODE_OPTIONS: register.join(' ') }
  const { ended, lost } = await stopBusy(t, 'register/others.js', { args: ['forks a server'], pid1, env })
  assertStoppedWell(ended)
  assert.deepEqual(linesOf(ended), ['child 0 null'])
  assert.equal(lost, 0)
})

test('register: a script that is not PID 1 dies of the signal, as without it', async (t) => {
  const run = startOther(t, ['script'])
  await run.line(/ready/)
  run.signal('SIGTERM')
  const { code, signal, stderr } = await run.ended
  assert.deepEqual([code, signal, stderr], [null, 'SIGTERM', ''])
})

asChildAndPid1('register: a script that is killed has the status that its parent expects', async (t, pid1) => {
  const run = startOther(t, ['kills a script'], pid1)
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.deepEqual(linesOf(ended), ['child null SIGTERM'])
})

asChildAndPid1('register: a script that ends by itself keeps its exit code', async (t, pid1) => {
  const ended = await startOther(t, ['ends by itself'], pid1).ended
  assertEnded(ended, 6)
  assert.deepEqual([ended.stdout, ended.stderr], ['beforeExit\n', ''])
})

asChildAndPid1('register: a script with a listener ends as it wants to', async (t, pid1) => {
  const run = startOther(t, ['script with a listener'], pid1)
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 7)
  assert.deepEqual([linesOf(ended), ended.stderr], [['ready', 'cleaned up'], ''])
  assertTook(ended.ms, { under: 1000 })
})

asChildAndPid1('register: beside a worker thread with a server', async (t, pid1) => {
  const run = startOther(t, ['worker thread'], pid1)
  await run.line(/listens/)
  run.signal('SIGTERM')
  assertStoppedWell(await run.ended)
})

asChildAndPid1("register: the app's own SIGHUP stays its own", async (t, pid1) => {
  const run = startOther(t, ['hangup'], pid1)
  await run.port()
  run.signal('SIGHUP')
  await run.line(/reloaded/)
  run.signal('SIGTERM')
  assertStoppedWell(await run.ended)
})

asChildAndPid1(
  'register: long polls that the listener answers are answered, although it is called late',
  async (t, pid1) => {
    const run = start(t, 'register/ends.js', {
      pid1,
      nodeArgs: register,
      args: ['answers its long polls'],
      env: { PID1_GRACE_PERIOD: '3s' },
    })
    const port = await run.port()
    const polls = Array.from({ length: 3 }, () => fetch(`http://127.0.0.1:${port}/poll`))
    await fetch(`http://127.0.0.1:${port}/`)
    run.signal('SIGTERM')
    const answers = await Promise.all(polls)
    assert.deepEqual(
      answers.map(({ status }) => status),
      [204, 204, 204],
    )
    const ended = await run.ended
    assertEnded(ended, 5)
    assert.equal(ended.stderr, '')
  },
)

test("register: a second signal at the app's own end reaches its listener", async (t) => {
  const run = start(t, 'register/ends.js', { nodeArgs: register, args: ['exits at the second signal'] })
  await run.port()
  run.signal('SIGTERM')
  await run.line(/signal 1/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 9)
  assert.deepEqual(linesOf(ended), ['signal 1', 'signal 2', 'exit 9'])
})

asPid1('register: what the kernel would have dropped does not end the app', async (t) => {
  const run = start(t, 'register/ends.js', { pid1: true, nodeArgs: register, args: ['no listener'] })
  const port = await run.port()
  for (const signal of ['SIGUSR2', 'SIGALRM', 'SIGVTALRM', 'SIGIO'] as const) run.signal(signal)
  assert.equal((await fetch(`http://127.0.0.1:${port}/`)).status, 200)
  run.signal('SIGTERM')
  assertStoppedWell(await run.ended)
})

asChildAndPid1('register: a child that only a message of the listener stops is stopped by it', async (t, pid1) => {
  const run = startOther(t, ['stops its child by a message'], pid1)
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertEnded(ended, 4)
  assert.deepEqual([linesOf(ended), ended.stderr], [['ready', 'listener', 'child 0 null'], ''])
  assertTook(ended.ms, { under: 2500 })
})

for (const [name, value] of [
  ['PID1_GRACE_PERIOD', '10'],
  ['PID1_LINGER', '2'],
  ['PID1_WHILE_DRAINING', 'maybe'],
  ['PID1_DISABLE', 'yes'],
] as const) {
  asChildAndPid1(`register: a wrong ${name} ends the process before the app starts`, async (t, pid1) => {
    const ended = await startOther(t, ['script'], pid1, { [name]: value }).ended
    assertEnded(ended, 1)
    assert.equal(ended.stdout, '')
    assert.match(ended.stderr, new RegExp(`^pid1: Expected \`${name}\` to be .*, got "${value}" \\(string\\).*\\n$`))
  })
}

asChildAndPid1('register: PID1_DISABLE=1 turns it off', async (t, pid1) => {
  const { lost } = await stopBusy(t, 'register/ends.js', {
    args: ['exits with 0'],
    pid1,
    nodeArgs: register,
    env: { PID1_DISABLE: '1' },
  })
  assert.ok(lost > 0)
})

test("register: PID1_OTHER_LISTENERS=atOnce calls the app's listener at once", async (t) => {
  const env = { PID1_OTHER_LISTENERS: 'atOnce' }
  const { statuses, ended } = await stopBusy(t, 'register/ends.js', {
    args: ['closes the database at once'],
    nodeArgs: register,
    env,
  })
  assert.ok(statuses['500'] !== undefined, JSON.stringify({ statuses, ended }))
})

test('register: PID1_SUMMARY=1 tells of the stop', async (t) => {
  const { ended } = await stopBusy(t, 'register/ends.js', {
    args: ['exits with 3'],
    nodeArgs: register,
    env: { PID1_SUMMARY: '1' },
  })
  assertEnded(ended, 3)
  assert.match(
    ended.stderr,
    /^pid1: the shutdown begins: SIGTERM; 3600 ms at most\npid1: the shutdown is over after \d+ ms, with exit code 3: 200 connections drained\n$/,
  )
})

function startOther(t: TestContext, args: readonly string[], pid1 = false, env: NodeJS.ProcessEnv = {}): Run {
  const file = fileURLToPath(new URL('../dist/register.js', import.meta.url))
  return start(t, 'register/others.js', { pid1, args, env: { NODE_OPTIONS: `--import ${file}`, ...env } })
}

function linesOf({ stdout }: Ended): string[] {
  return stdout
    .trimEnd()
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('listening'))
}
