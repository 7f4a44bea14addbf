import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { type BalancerName, startBalancer, whyNoBalancer } from '../helpers/balancers.ts'
import { type Counted, startClients } from '../helpers/load.ts'
import { assertStoppedWell } from '../helpers/report.ts'
import { asPid1, type Run, skipBecause, start } from '../helpers/run.ts'

// Instances behind a balancer are replaced one after the other, under clients that post: what was sent, it may not send again.
for (const balancer of ['nginx', 'haproxy'] as const) {
  asPid1(`a rolling restart behind ${balancer} costs clients nothing`, async (t) => {
    const counted = await restartAll(t, balancer, { pid1: true })
    if (counted === undefined) return
    assert.deepEqual(counted.statuses, { 200: counted.answered })
    assert.ok(counted.answered > 1000)
  })
}

test('a rolling restart behind nginx costs something with a bare server.close(): the count can fail', async (t) => {
  const failures: number[] = []
  while (failures.length < 5 && !failures.some((count) => count > 0)) {
    const counted = await restartAll(t, 'nginx', { env: { PID1_DISABLE: '1' } })
    if (counted === undefined) return
    failures.push(counted.answered - (counted.statuses[200] ?? 0))
  }
  assert.ok(failures.at(-1) !== 0, `failed in five rolling restarts: ${failures.join(', ')}`)
})

// Until the balancer uses an instance again that was away: nginx's fail_timeout, HAProxy's next check.
const settleMs = 1200

async function restartAll(
  t: TestContext,
  balancer: BalancerName,
  how: { pid1?: boolean; env?: NodeJS.ProcessEnv },
): Promise<Counted | undefined> {
  const why = whyNoBalancer(balancer)
  if (why !== undefined) {
    skipBecause(t, why)
    return undefined
  }
  const [front = 0, ...ports] = await freePorts(4)
  const instances = await Promise.all(ports.map((port) => startAt(t, port, how)))
  const { stop } = await startBalancer(balancer, front, ports)
  t.after(stop)
  const clients = await startClients(t, front, { clients: 50, method: 'POST', maxMs: 60_000 })
  for (const [index, port] of ports.entries()) {
    const instance = instances[index] as Run
    instance.signal('SIGTERM')
    const ended = await instance.ended
    if (how.env === undefined) assertStoppedWell(ended)
    instances[index] = await startAt(t, port, how)
    await wait(settleMs)
  }
  clients.stop()
  return clients.counted
}

async function startAt(t: TestContext, port: number, how: { pid1?: boolean; env?: NodeJS.ProcessEnv }): Promise<Run> {
  const run = start(t, 'servers/http.js', { ...how, args: [JSON.stringify({ port })] })
  await run.port()
  return run
}

/** Ports that nobody listens on at this moment. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}
