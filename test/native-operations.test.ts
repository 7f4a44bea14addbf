import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { assertEnded, assertStoppedWell } from './helpers/report.ts'
import { asChildAndPid1, type Run, type RunOptions, skipBecause, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

// The native part by itself, so that CI can run it where the library does not: built with sanitizers, on arm64 under an
// emulator, on musl.
const built = fileURLToPath(new URL(`../dist/native/linux-${process.arch}.node`, import.meta.url))
const object = process.env['PID1_TEST_NATIVE'] ?? built

// QEMU's user mode 7.2 says no to PR_SET_CHILD_SUBREAPER, SO_BINDTOIFINDEX and NETLINK_SOCK_DIAG, and gives of TCP_INFO
// only the first four bytes, in which no queue is.
const isEmulated = !object.endsWith(`linux-${process.arch}.node`)
const { EINVAL, ENOPROTOOPT, EOPNOTSUPP, EPROTONOSUPPORT } = constants.errno

operates('arguments that are no numbers are refused, and no number does harm', async (t, pid1) => {
  const ended = await startPart(t, pid1, 'wrong-arguments.js').ended
  assertStoppedWell(ended)
  const lines = ended.stdout.trim().split('\n')
  assert.equal(lines.pop(), 'alive')
  assert.ok(lines.length > 200)
  for (const line of lines) assert.match(line, isOfNumbers(line) ? /: (0|-\d+)$/ : new RegExp(`: -${EINVAL}$`))
})

operates('reap answers that an orphan still runs, then its wait status, then that it is gone', async (t, pid1) => {
  const args = ['exit 0', 'exit 7', 'kill -KILL $BASHPID']
  const ended = await startPart(t, pid1, 'orphans.js', { args }).ended
  assertStoppedWell(ended)
  const [subreaper, ...orphans] = ended.stdout.trim().split('\n')
  assert.equal(subreaper, `subreaper: ${isEmulated ? -EINVAL : 0}`)
  if (isEmulated && !pid1) return // the orphans are another's
  const statuses = [0, 7 << 8, constants.signals.SIGKILL]
  const { EAGAIN, ECHILD } = constants.errno
  assert.deepEqual(
    orphans,
    args.map((command, index) => `${command}: ${-EAGAIN}, then ${statuses[index]}, then ${-ECHILD}`),
  )
})

operates('reap takes no exit code of a child by a number that is not its pid', async (t, pid1) => {
  const ended = await startPart(t, pid1, 'never-any-child.js').ended
  assertStoppedWell(ended)
  assert.match(ended.stdout, /^(\S+: -\d+\n)+exit code 3\n$/)
})

operates('a signal that JavaScript cannot handle ends a blocked process with 124', async (t, pid1) => {
  const run = startPart(t, pid1, 'watched.js', { args: ['blocked'] })
  await run.line(/ready/)
  run.signal('SIGUSR2')
  const ended = await run.ended
  assertEnded(ended, 124)
  assert.match(ended.stderr, /^pid1: ended with 124: .* since before the shutdown could begin\n$/)
  assertTook(ended.ms, { over: 450, under: 3000 })
})

operates('the native part sees a signal before JavaScript does, and its watchdog can be stopped', async (t, pid1) => {
  const run = startPart(t, pid1, 'watched.js')
  await run.line(/ready/)
  run.signal('SIGUSR2')
  const ended = await run.ended
  assertStoppedWell(ended)
  const { ENOENT } = constants.errno
  assert.deepEqual(ended.stdout.trim().split('\n'), [
    `without a listener: ${-ENOENT}, ${-ENOENT}`,
    'with one: 0, 0, 0',
    'ready: ',
    `handled: true, 0, 0, ${-ENOENT}`,
    `stopped: 0, ${-ENOENT}`,
  ])
})

operates('a shutdown that blocks the event loop ends with 124 and the name of its step', async (t, pid1) => {
  const ended = await startPart(t, pid1, 'started.js', { args: ['blocked'] }).ended
  assertEnded(ended, 124)
  assert.match(ended.stderr, /^pid1: ended with 124: .* during cleanup, "data base"\n$/)
})

operates('a stopped watchdog ends nothing', async (t, pid1) => {
  const ended = await startPart(t, pid1, 'started.js').ended
  assertStoppedWell(ended)
  assert.equal(ended.stdout, 'not started: 0\nstarted: 0\nstopped: 0\nalive\n')
})

for (const holder of ['a loop', 'the thread pool']) {
  operates(`exitWithin ends a process that ${holder} delays, with its code`, async (t, pid1) => {
    const folder = mkdtempSync(join(tmpdir(), 'exits-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    const ended = await startPart(t, pid1, 'exits-within.js', { args: [holder], env: { FOLDER: folder } }).ended
    assertEnded(ended, 7)
    assert.equal(ended.stdout, 'exitWithin: 0\n')
    assert.equal(ended.stderr, '')
  })
}

for (const [operation, status] of [
  ['refuseNew', 1],
  ['dropNew', 124],
] as const) {
  for (const [listensOn, dials] of [
    ['127.0.0.1', '127.0.0.1'],
    ['::', '127.0.0.1'],
    ['::', '::1'],
  ] as const) {
    operates(
      `${operation} on ${listensOn} keeps connections that wait, and lets no new one to ${dials} in`,
      async (t, pid1) => {
        if (operation === 'dropNew' && process.getuid?.() !== 0)
          return skipBecause(t, 'newer kernels let only root filter')
        const ended = await startPart(t, pid1, 'sockets.js', { args: [listensOn, dials, operation] }).ended
        assertStoppedWell(ended)
        const refusal = isEmulated && operation === 'refuseNew' ? -ENOPROTOOPT : 0
        const expected = [
          'listening: 1',
          `handshakes: ${isEmulated ? -EPROTONOSUPPORT : 0}`,
          'dialled: 0',
          'queue: 1',
          `${operation}: ${refusal}`,
          `dialled: ${refusal === 0 ? status : 0}`,
          'queue: 1',
          'enlargeQueue: 0',
          'queue is larger: true',
        ]
        const isKnown = (line: string) => !isEmulated || !line.startsWith('queue')
        assert.deepEqual(ended.stdout.trim().split('\n').filter(isKnown), expected.filter(isKnown))
      },
    )
  }
}

operates('idleMs answers how long a connection has been idle', async (t, pid1) => {
  const ended = await startPart(t, pid1, 'idle.js').ended
  assertStoppedWell(ended)
  const [idle = NaN, received = NaN, sent = NaN, ...more] = ended.stdout.trim().split('\n').map(Number)
  assert.equal(more.length, 0)
  if (isEmulated) return assert.deepEqual([idle, received, sent], [-EOPNOTSUPP, -EOPNOTSUPP, -EOPNOTSUPP])
  assertTook(idle, { over: 279, under: 5000 })
  for (const used of [received, sent]) assertTook(used, { over: -1, under: 250 })
})

function operates(name: string, body: (t: TestContext, pid1: boolean) => Promise<void>): void {
  asChildAndPid1(name, async (t, pid1) => {
    if (!existsSync(object)) return skipBecause(t, `${object} was not built`)
    return body(t, pid1)
  })
}

function startPart(t: TestContext, pid1: boolean, file: string, options: RunOptions = {}): Run {
  return start(t, `native/${file}`, { ...options, pid1, env: { ...options.env, NATIVE: object } })
}

function isOfNumbers(line: string): boolean {
  return /^\w+ \[( -?(\d+|Infinity|NaN|1e\+300),?)* ?\]/.test(line)
}
