import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test, type TestContext } from 'node:test'
import { dial, requestFor, waitUntilRefused } from '../helpers/connection.ts'
import { type Load, startClients } from '../helpers/load.ts'
import { childrenOf } from '../helpers/proc.ts'
import { assertEnded, assertStoppedWell, hooksOf, reportIn } from '../helpers/report.ts'
import { asChildAndPid1, fixturePath, type Run, start } from '../helpers/run.ts'
import { assertTook } from '../helpers/time.ts'

const load: Load = { clients: 1000, thinkMs: 5 }

for (const policy of ['rr', 'none'] as const) {
  asChildAndPid1(
    `cluster (${policy}): 1000 busy clients lose no request when the primary gets SIGTERM`,
    async (t, pid1) => {
      const run = startCluster(t, { pid1, policy })
      const { counted } = await startClients(t, await run.port(), load)
      run.signal('SIGTERM')
      const ended = await run.ended
      assertStoppedWell(ended)
      const { answered, lost, refused, statuses, detail } = await counted
      assert.deepEqual({ lost, detail, statuses }, { lost: 0, detail: {}, statuses: { 200: answered } })
      assert.ok(refused >= 1000)
      assert.equal(ended.stdout.match(/a worker is told/g)?.length, 2)
    },
  )

  test(`cluster (${policy}): 1000 busy clients lose requests with a bare server.close()`, async (t) => {
    const run = startCluster(t, { policy, env: { PID1_DISABLE: '1' } })
    const port = await run.port()
    const clients = await startClients(t, port, load)
    run.signal('SIGTERM')
    await waitUntilRefused(port)
    clients.stop()
    assert.notEqual((await clients.counted).lost, 0)
  })

  asChildAndPid1(
    `cluster (${policy}): a worker that is stopped alone loses no request, and takes none from the others`,
    async (t, pid1) => {
      const run = startCluster(t, { pid1, policy })
      const port = await run.port()
      const backlog = backlogOf(port)
      const clients = await startClients(t, port, { clients: 200, thinkMs: 5 })
      process.kill(firstWorkerOf(run), 'SIGTERM')
      await run.line(/a worker is told[^]*a worker has left with 0/)
      assert.equal(backlogOf(port), backlog)
      await assertAnswers(t, port)
      clients.stop()
      const { lost, refused, detail } = await clients.counted
      assert.deepEqual({ lost, refused, detail }, { lost: 0, refused: 0, detail: {} })
      run.signal('SIGTERM')
      assertStoppedWell(await run.ended)
    },
  )
}

for (const pass of ['at once', 'with its first bytes'] as const) {
  for (const mode of ['keep-alive', 'new'] as const) {
    asChildAndPid1(
      `cluster: a primary that passes on each connection ${pass} loses none (${mode})`,
      async (t, pid1) => {
        const run = start(t, 'servers/sticky.js', { pid1, args: [JSON.stringify({ pass })] })
        const { counted } = await startClients(t, await run.port(), { clients: 200, thinkMs: 5, mode })
        run.signal('SIGTERM')
        assertStoppedWell(await run.ended)
        const { answered, lost, statuses, detail } = await counted
        assert.deepEqual({ lost, detail, statuses }, { lost: 0, detail: {}, statuses: { 200: answered } })
      },
    )
  }
}

for (const [what, options, code, stderr] of [
  ['that fails', { workerCode: 3 }, 1, /^pid1: cluster failed: Error: a worker ended with exit code 3\n/],
  ['that is out of time', { workMs: 60_000 }, 124, /^pid1: cluster has a worker that was out of time/m],
] as const) {
  asChildAndPid1(`cluster: a worker ${what} makes the primary exit with ${code}`, async (t, pid1) => {
    const run = startCluster(t, { pid1, options: { ...options, configure: { gracePeriodMs: 2000 } } })
    await run.port()
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, code)
    assert.match(ended.stderr, stderr)
    assertTook(ended.ms, { under: 2000 })
  })
}

for (const [what, options, key] of [
  ['Ctrl-C on a terminal', { workMs: 400 }, '\u0003'],
  ['a SIGINT that the primary emits on a terminal', { workMs: 400, emits: 'SIGINT' }, '\n'],
] as const) {
  test(`cluster: ${what} passes the signal to every worker once`, async (t) => {
    const app = `exec ${process.execPath} ${fixturePath('servers/cluster.js')} '${JSON.stringify(options)}'`
    const run = start(t, '', { command: ['script', '--quiet', '--return', '--command', app, '/dev/null'] })
    await run.port()
    run.stdin.write(key)
    const ended = await run.ended
    assertEnded(ended, 130)
    assert.equal(ended.stdout.match(/a worker has done its work/g)?.length, 2, ended.stdout)
  })
}

test('cluster: with drainDelayMs the workers get the signal first, and new connections are still served', async (t) => {
  const run = startCluster(t, { options: { configure: { drainDelayMs: 1500 } } })
  const port = await run.port()
  run.signal('SIGTERM')
  await run.line(/(a worker is told[^]*){2}/)
  await assertAnswers(t, port)
  await waitUntilRefused(port)
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { over: 1200 })
  assert.deepEqual(
    hooksOf(reportIn(ended), 'announce').map(({ name, outcome }) => [name, outcome]),
    [['cluster', 'done']],
  )
})

interface ClusterOptions {
  readonly pid1?: boolean
  readonly policy?: 'rr' | 'none'
  readonly env?: NodeJS.ProcessEnv
  readonly options?: object
}

function startCluster(t: TestContext, { pid1 = false, policy = 'rr', env = {}, options = {} }: ClusterOptions): Run {
  return start(t, 'servers/cluster.js', {
    pid1,
    env: { NODE_CLUSTER_SCHED_POLICY: policy, ...env },
    args: [JSON.stringify(options)],
  })
}

/** As seen from outside its namespace. */
function firstWorkerOf({ pid }: Run): number {
  const [worker] = childrenOf(pid)
  assert.ok(worker !== undefined)
  return worker
}

/** The limit of the queue of the socket that listens on a port. */
function backlogOf(port: number): string {
  return (
    execFileSync('ss', ['-Hltn', `sport = :${port}`], { encoding: 'utf8' })
      .trim()
      .split(/\s+/)[2] ?? ''
  )
}

async function assertAnswers(t: TestContext, port: number): Promise<void> {
  const connection = await dial(t, port)
  connection.send(requestFor('/'))
  await connection.received(/answered/)
}
