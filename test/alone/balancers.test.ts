import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { type BalancerName, startBalancer, whyNoBalancer } from '../helpers/balancers.ts'
import { type Counted, startClients } from '../helpers/load.ts'
import { freePorts } from '../helpers/ports.ts'
import { assertStoppedWell } from '../helpers/report.ts'
import { asPid1, type Run, skipBecause, start } from '../helpers/run.ts'

// Instances behind a balancer are replaced one after the other, under clients that post: what was sent, it may not send again.
for (const balancer of ['nginx', 'haproxy'] as const) {
  asPid1(`clients see no error in a rolling restart behind ${balancer}`, async (t) => {
    const counted = await restartAll(t, balancer, { pid1: true })
    if (counted === undefined) return
    assert.deepEqual(counted.statuses, { 200: counted.answered })
    assert.ok(counted.answered > 1000)
  })
}

test('clients see errors in a rolling restart behind nginx with a bare server.close(): the count can fail', async (t) => {
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
    if (how.env === undefined) assertStoppedWell(await instance.ended)
    else await endOrKill(instance)
    instances[index] = await startAt(t, port, how)
    await wait(settleMs)
  }
  clients.stop()
  return clients.counted
}

/** A bare `server.close()` does not end while a balancer keeps a connection busy. Platforms kill it then. */
async function endOrKill(instance: Run): Promise<void> {
  const timer = setTimeout(() => instance.signal('SIGKILL'), 5000)
  await instance.ended
  clearTimeout(timer)
}

async function startAt(t: TestContext, port: number, how: { pid1?: boolean; env?: NodeJS.ProcessEnv }): Promise<Run> {
  const run = start(t, 'servers/http.js', { ...how, args: [JSON.stringify({ port })] })
  await run.port()
  return run
}
