import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { environment } from 'pid1'
import { waitUntilRefused } from '../helpers/connection.ts'
import { type Counted, type Load, startClients } from '../helpers/load.ts'
import { assertStoppedWell, reportIn } from '../helpers/report.ts'
import { asChildAndPid1, asPid1, start } from '../helpers/run.ts'
import { assertTook } from '../helpers/time.ts'

const keptConnections: readonly (readonly [name: string, load: Load])[] = [
  ['200 busy clients', { clients: 200, thinkMs: 5 }],
  ['1000 busy clients', { clients: 1000, thinkMs: 5 }],
  // Of an app that computes, so that at any moment requests wait in the kernel: else there is little that a stop can lose.
  ['200 slower clients', { clients: 200, thinkMs: 300, path: '/busy' }],
  ['200 busy clients over https', { clients: 200, thinkMs: 5, tls: true }],
  ['1000 busy clients over https', { clients: 1000, thinkMs: 5, tls: true }],
  ['200 slower clients over https', { clients: 200, thinkMs: 300, path: '/busy', tls: true }],
  ['200 busy clients, keep-alive by setHeader', { clients: 200, thinkMs: 5, path: '/set-header' }],
  ['200 busy clients, keep-alive by writeHead with an object', { clients: 200, thinkMs: 5, path: '/object' }],
  ['200 busy clients, keep-alive by writeHead with a raw list', { clients: 200, thinkMs: 5, path: '/raw' }],
]

for (const [name, load] of keptConnections) {
  asChildAndPid1(`${name} lose nothing`, async (t, pid1) => {
    const run = start(t, 'servers/http.js', { pid1, args: [JSON.stringify(load)] })
    const { counted } = await startClients(t, await run.port(), load)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.equal(reportIn(ended).connections.cut, 0)
    assertNoneLost(await counted, load)
  })

  // By chance one such stop in about fifty loses nothing. Five in a row would mean that the count cannot fail.
  test(`${name} lose some with a bare server.close(): the count can fail`, async (t) => {
    const lost: number[] = []
    while (lost.length < 5 && !lost.some((count) => count > 0)) lost.push(await lostByBareClose(t, load))
    assert.ok(lost.at(-1) !== 0, `lost in five stops: ${lost.join(', ')}`)
  })
}

for (const way of ['in its own handler', 'in an intake hook before the drain', 'by shutdownSignal()']) {
  asPid1(`1000 busy clients lose nothing when the app closes its server too, ${way}`, async (t) => {
    const load = { clients: 1000, thinkMs: 5 }
    const run = start(t, 'servers/app-closes.js', { pid1: true, args: [JSON.stringify({ way })] })
    const { counted } = await startClients(t, await run.port(), load)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.match(ended.stdout, /^closed: well$/m)
    assertNoneLost(await counted, load)
  })
}

asPid1('1000 clients that think for longer than the linger lose nothing', async (t) => {
  const load = { clients: 1000, thinkMs: 2500 }
  const run = start(t, 'servers/http.js', { pid1: true })
  const { counted } = await startClients(t, await run.port(), load)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertNoneLost(await counted, load)
  assertTook(ended.ms, { under: 5500 })
})

for (const tls of [false, true]) {
  const load = { clients: 50, streams: 4, thinkMs: 5, tls }
  const name = `50 clients of HTTP/2 with 4 streams each${tls ? ', over TLS,' : ''}`

  asChildAndPid1(`${name} lose nothing`, async (t, pid1) => {
    const run = start(t, 'servers/http2.js', { pid1, args: [JSON.stringify({ tls })] })
    const { counted } = await startClients(t, await run.port(), load)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.equal(reportIn(ended).connections.cut, 0)
    assertNoneLost(await counted, load)
  })

  // Of streams that take a while, so that some are under way whenever it comes.
  test(`${name} lose some with a server that just exits: the count can fail`, async (t) => {
    const run = start(t, 'servers/http2.js', { args: [JSON.stringify({ tls })], env: { PID1_DISABLE: '1' } })
    const { counted } = await startClients(t, await run.port(), { ...load, path: '/busy' })
    run.signal('SIGKILL')
    await run.ended
    assert.ok((await counted).lost > 0)
  })
}

asChildAndPid1('500 new connections a second lose nothing, each with one POST', async (t, pid1) => {
  const run = start(t, 'servers/http.js', { pid1 })
  const { counted } = await startClients(t, await run.port(), { mode: 'new', rate: 500 })
  run.signal('SIGTERM')
  assertStoppedWell(await run.ended)
  assertNoneLost(await counted, {})
})

void test('the clients lose nothing of a server that is not stopped', async (t) => {
  const run = start(t, 'servers/http.js', { env: { PID1_DISABLE: '1' } })
  const load = { clients: 200, thinkMs: 5, stopAfterMs: 1000 }
  const { answered, lost, refused } = await (await startClients(t, await run.port(), load)).counted
  assert.deepEqual({ lost, refused }, { lost: 0, refused: 0 })
  assert.ok(answered > 200)
})

async function lostByBareClose(t: TestContext, load: Load): Promise<number> {
  const run = start(t, 'servers/http.js', { env: { PID1_DISABLE: '1' }, args: [JSON.stringify(load)] })
  const port = await run.port()
  const clients = await startClients(t, port, load)
  run.signal('SIGTERM')
  await waitUntilRefused(port)
  clients.stop()
  return (await clients.counted).lost
}

/**
 * Nothing may be lost. Without the native part a new connection may: about once in twenty stops the kernel's queue admits
 * one while the listener is closed, and resets it.
 */
function assertNoneLost(counted: Counted, { clients }: Load): void {
  const { answered, lost, lostOnNew, refused, statuses } = counted
  const all = JSON.stringify(counted)
  assert.equal(lost - lostOnNew, 0, all)
  assert.ok(lostOnNew <= (environment().native ? 0 : 1), all)
  assert.deepEqual(statuses, { 200: answered }, all)
  if (clients === undefined) assert.ok(refused > 0, all)
  else assert.ok(refused >= clients - lostOnNew, all) // each has gone on until nobody was there any more
}
