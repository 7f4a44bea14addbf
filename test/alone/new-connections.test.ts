import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { type Clients, type Counted, type Load, startClients } from '../helpers/load.ts'
import { inNetwork, type Network } from '../helpers/network.ts'
import { assertStoppedWell, reportIn } from '../helpers/report.ts'
import { asChildAndPid1, type Ended, type Run, type RunOptions, start } from '../helpers/run.ts'
import { assertTook } from '../helpers/time.ts'

interface Scenario {
  readonly name: string
  readonly load: Load
  /** Of an Express server, and not of a bare one. */
  readonly app?: 'express'
  /** The server is stopped when its accept queue has overflowed. */
  readonly overflow?: boolean
  /** The server has fewer rights, as in a container. */
  readonly limited?: boolean
  /** The clients are on the server's side, where a handshake takes no time. */
  readonly local?: boolean
  readonly endsWithinMs?: number
}

// Of an app that computes: otherwise it may accept them in time.
const rush = { clients: 100, rushing: 900, thinkMs: 5, path: '/busy' }
const scenarios: readonly Scenario[] = [
  { name: '500 new connections a second', load: { mode: 'new', rate: 500 } },
  { name: '2000 new connections a second', load: { mode: 'new', rate: 2000 } },
  { name: '500 new connections a second, as in a container', load: { mode: 'new', rate: 500 }, limited: true },
  { name: '1000 busy clients that overflow the accept queue', load: rush, overflow: true },
  { name: '1000 busy clients that overflow the accept queue of Express', app: 'express', load: rush, overflow: true },
  {
    name: 'three times as many new connections as a server can answer',
    load: { mode: 'new', rate: 1000, path: '/heavy' },
    overflow: true,
    local: true,
    endsWithinMs: 4000,
  },
]
// Of the rights of root that containers do not have by default, the one that the kernel may want for a socket's filter.
const asInContainer = ['setpriv', '--bounding-set', '-net_admin']
const network = { roundTripMs: 20 }

for (const scenario of scenarios) {
  asChildAndPid1(
    `${scenario.name} lose nothing`,
    inNetwork(network, async (t, sides, pid1) => {
      const { run, clients } = await startBoth(t, sides, scenario, { pid1 })
      run.signal('SIGTERM')
      const ended = await run.ended
      assertNoneLost(await clients.counted, ended)
      assertStoppedWell(ended)
      assert.equal(reportIn(ended).connections.cut, 0)
      assertTook(ended.ms, { under: scenario.endsWithinMs ?? Infinity })
    }),
  )

  test(
    `${scenario.name} lose some with a bare server.close(): the count can fail`,
    inNetwork(network, async (t, sides) => {
      const lost: number[] = []
      while (lost.length < 5 && !lost.some((count) => count > 0)) lost.push(await lostByBareClose(t, sides, scenario))
      assert.ok(lost.at(-1) !== 0, `lost in five stops: ${lost.join(', ')}`)
    }),
  )
}

asChildAndPid1(
  'connections that there was no time to accept are reported and counted, with exit code 124',
  inNetwork(network, async (t, sides, pid1) => {
    const load = { mode: 'new', rate: 1000, path: '/heavy' } as const
    const scenario = { name: '', load, overflow: true, local: true }
    const { run, clients } = await startBoth(t, sides, scenario, { pid1, env: { PID1_GRACE_PERIOD: '1s' } })
    run.signal('SIGTERM')
    const ended = await run.ended
    const { lost, statuses } = await clients.counted
    assert.equal(ended.code, 124, ended.stderr)
    assert.ok(lost > 0, JSON.stringify(statuses))
    assert.equal(reportIn(ended).connections.cut, lost + (statuses[503] ?? 0))
    assert.match(
      ended.stderr,
      /the server on port \d+ did not answer in time: .*\d+ connections that it had no time to accept/,
    )
    assertTook(ended.ms, { under: 1000 })
  }),
)

// There is no control: where a handshake takes no time a bare server.close() may find the queue empty, and lose nothing.
asChildAndPid1('3000 new connections a second on loopback lose nothing', async (t, pid1) => {
  const run = start(t, 'servers/http.js', { pid1 })
  const clients = await startClients(t, await run.port(), { mode: 'new', rate: 3000 })
  run.signal('SIGTERM')
  const ended = await run.ended
  assertNoneLost(await clients.counted, ended)
  assertStoppedWell(ended)
})

void test(
  'the clients lose nothing of a server that is not stopped, and keep up',
  inNetwork(network, async (t, sides) => {
    const load = { mode: 'new', rate: 2000, stopAfterMs: 2000 } as const
    const { clients } = await startBoth(t, sides, { name: '', load }, { env: { PID1_DISABLE: '1' } })
    const { answered, lost, refused } = await clients.counted
    assert.deepEqual({ lost, refused }, { lost: 0, refused: 0 })
    assert.ok(answered > 3600, `answered ${answered}`)
  }),
)

void test(
  'the network has the latency that it should have',
  inNetwork(network, async (t, sides) => {
    const load = { mode: 'new', rate: 100, stopAfterMs: 1000 } as const
    const { clients } = await startBoth(t, sides, { name: '', load }, { env: { PID1_DISABLE: '1' } })
    const { fastestDialMs } = await clients.counted
    assertTook(fastestDialMs, { over: network.roundTripMs, under: 60 })
  }),
)

interface Both {
  readonly run: Run
  readonly clients: Clients
}

async function startBoth(t: TestContext, sides: Network, scenario: Scenario, options: RunOptions): Promise<Both> {
  const { app, load, limited, overflow, local } = scenario
  const { serverSide, clientSide, address } = sides
  const host = local === true ? '127.0.0.1' : address
  const fixture = app === undefined ? 'servers/http.js' : 'servers/framework.js'
  const inside = limited === true ? [...serverSide, ...asInContainer] : serverSide
  const run = start(t, fixture, { inside, args: [JSON.stringify({ app, host })], ...options })
  const port = await run.port()
  const clients = await startClients(t, port, { ...load, host }, { inside: local === true ? serverSide : clientSide })
  if (overflow === true) await waitForOverflow(run)
  return { run, clients }
}

async function lostByBareClose(t: TestContext, sides: Network, scenario: Scenario): Promise<number> {
  const { run, clients } = await startBoth(t, sides, scenario, { env: { PID1_DISABLE: '1' } })
  run.signal('SIGTERM')
  clients.stop()
  return (await clients.counted).lost
}

/** Until the kernel has dropped some packets of new connections, because too many of them wait to be accepted. */
async function waitForOverflow(run: Run): Promise<void> {
  const end = performance.now() + 10_000
  while (countOverflows(run) < 100) {
    if (performance.now() > end) throw new Error('The accept queue did not overflow')
    await wait(5)
  }
}

/** In the server's network, where nobody else is. */
function countOverflows({ pid }: Run): number {
  const [names, values] = readFileSync(`/proc/${pid}/net/netstat`, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('TcpExt:'))
    .map((line) => line.split(' '))
  return Number(values?.[names?.indexOf('ListenOverflows') ?? -1])
}

function assertNoneLost(counted: Counted, { ms }: Ended): void {
  const { answered, lost, refused, statuses } = counted
  const all = `after ${ms} ms: ${JSON.stringify(counted)}`
  assert.equal(lost, 0, all)
  assert.deepEqual(statuses, { 200: answered }, all)
  assert.ok(refused > 0, all)
}
