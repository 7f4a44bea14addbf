import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { makeFolder } from './helpers/folder.ts'
import { assertEnded } from './helpers/report.ts'
import { asChildAndPid1, asPid1, type Ended, fixturePath, type Run, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

// A thread pool or a worker that never lets go, and `process.exit`, which waits for both.
const fifo = 'a FIFO that nobody writes to'
const ways = [fifo, 'look-ups that nobody answers', 'a worker in execSync'] as const

for (const way of ways) {
  asPid1(`${way}: the process exits in time`, async (t) => {
    const ended = await stop(await startHeld(t, way))
    assertEnded(ended, 0)
    assert.equal(ended.stdout, 'ready\nlast words 0\n')
    assert.equal(ended.stderr, '')
    assertTook(ended.ms, { under: 1000 })
  })

  asPid1(`${way}: without the native part the exit is delayed`, async (t) => {
    const run = await startHeld(t, way, { nodeArgs: ['--no-addons'] })
    const kill = setTimeout(() => run.signal('SIGKILL'), 2000)
    const ended = await stop(run)
    clearTimeout(kill)
    assert.match(ended.stdout, /last words 0/) // it wanted to leave
    assert.notEqual(ended.code, 0)
  })
}

asPid1('a signal without a shutdown ends the process, whatever delays the exit', async (t) => {
  const ended = await stop(await startHeld(t, fifo), 'SIGUSR2')
  assertEnded(ended, 140)
  assertTook(ended.ms, { under: 1000 })
})

for (const [then, code] of [
  ['process.exit(5)', 5],
  ['process.exit(-1)', 255],
  ['a code set at the last moment', 7],
] as const) {
  for (const way of ['nothing', fifo]) {
    asChildAndPid1(`the exit code is that of ${then}, while ${way} delays the exit`, async (t, pid1) => {
      const ended = await stop(await startHeld(t, way, { pid1, args: [then] }))
      assertEnded(ended, code)
      assertTook(ended.ms, { under: 1000 })
    })
  }
}

asChildAndPid1('an exit callback may take longer than 250 ms', async (t, pid1) => {
  const ended = await stop(await startHeld(t, 'nothing', { pid1, args: ['slow last words'] }))
  assertEnded(ended, 0)
  assertTook(ended.ms, { over: 600 })
})

for (const [name, flags] of [
  ['--cpu-prof', ['--cpu-prof', '--cpu-prof-dir']],
  ['--heap-prof', ['--heap-prof', '--heap-prof-dir']],
  ['coverage', []],
] as const) {
  asChildAndPid1(`${name} is written completely`, async (t, pid1) => {
    const folder = makeFolder(t)
    const nodeArgs = flags.length === 0 ? [] : [flags[0], `${flags[1]}=${folder}`]
    const env = flags.length === 0 ? { NODE_V8_COVERAGE: folder } : {}
    const run = start(t, 'core/large.js', { pid1, nodeArgs, env, args: [folder] })
    assertEnded(await stop(run), 0)
    const files = readdirSync(folder)
    assert.equal(files.length, 1, files.join())
    const written: unknown = JSON.parse(readFileSync(join(folder, files[0] ?? ''), 'utf8'))
    assert.ok(typeof written === 'object' && written !== null && Object.keys(written).length > 1)
  })
}

interface HeldOptions {
  readonly pid1?: boolean
  readonly nodeArgs?: readonly string[]
  readonly args?: readonly string[]
}

async function startHeld(
  t: TestContext,
  way: string,
  { pid1 = true, nodeArgs = [], args = [] }: HeldOptions = {},
): Promise<Run> {
  const env = { TMPDIR: makeFolder(t) }
  if (way !== 'look-ups that nobody answers') {
    return start(t, 'core/held.js', { pid1, env, nodeArgs, args: [way, ...args] })
  }
  const nameServer = createSocket('udp4').bind(53, '127.0.0.77') // takes every question, answers none
  await once(nameServer, 'listening')
  t.after(() => nameServer.close())
  const file = join(env.TMPDIR, 'resolv.conf')
  writeFileSync(file, 'nameserver 127.0.0.77\n')
  const app = [process.execPath, ...nodeArgs, fixturePath('core/held.js'), `'${way}'`].join(' ')
  return start(t, '', { pid1, env, command: ['sh', '-c', `mount --bind ${file} /etc/resolv.conf && exec ${app}`] })
}

async function stop(run: Run, signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
  await run.line(/ready/)
  run.signal(signal)
  return run.ended
}
