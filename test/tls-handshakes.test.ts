import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { type AddressInfo, connect as connectTcp, createServer } from 'node:net'
import type { TestContext } from 'node:test'
import { assertLastAnswer } from './helpers/answers.ts'
import { dial, requestFor, waitUntilRefused } from './helpers/connection.ts'
import { startServer } from './helpers/http-server.ts'
import { assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1 } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

for (const [what, bytes] of [
  ['nothing', ''],
  ['half a ClientHello', '\u0016\u0003\u0001\u0002\0\u0001\0'],
] as const) {
  asChildAndPid1(`https: a TLS handshake of which ${what} has arrived does not delay the stop`, async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, tls: true })
    const connection = await dial(t, port)
    connection.send(bytes)
    const other = await dial(t, port, { tls: true })
    other.send(requestFor('/'))
    await other.received(/answered/) // by then the server has read the other one's bytes too
    run.signal('SIGTERM')
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 2900 })
  })
}

for (const finished of [true, false]) {
  const outcome = finished ? 'that is completed during the drain gets its request answered' : 'does not delay the stop'
  asChildAndPid1(`https: half a TLS handshake ${outcome}`, async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, tls: true, drain: finished ? { lingerMs: 4000 } : {} })
    const gate = await startGate(t, port)
    const connection = await dial(t, gate.port, { tls: true })
    await gate.isHalf
    run.signal('SIGTERM')
    if (finished) {
      await waitUntilRefused(port)
      gate.open()
      connection.send(requestFor('/slow?ms=300'))
      await assertLastAnswer(connection, /answered/)
    }
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.equal(reportIn(ended).connections.cut, 0)
    if (!finished) assertTook(ended.ms, { under: 2900 })
  })
}

asChildAndPid1(
  'https: a TLS handshake that begins and ends during the drain gets its request answered',
  async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, tls: true })
    const busy = await dial(t, port, { tls: true })
    busy.send(requestFor('/slow?ms=700'))
    await run.line(/got/)
    const raw = connectTcp({ port, host: '127.0.0.1' })
    t.after(() => raw.destroy())
    await new Promise((resolve) => void raw.once('connect', () => resolve(undefined)))
    run.signal('SIGTERM')
    await waitUntilRefused(port)
    const late = await dial(t, port, { tls: true, over: raw })
    late.send(requestFor('/'))
    await assertLastAnswer(late, /answered/)
    await assertLastAnswer(busy, /answered/)
    assertStoppedWell(await run.ended)
  },
)

/** A proxy that passes on the first bytes of a client, and the rest only after `open`. */
async function startGate(
  t: TestContext,
  port: number,
): Promise<{ port: number; isHalf: Promise<unknown>; open: () => void }> {
  const turns = new EventEmitter()
  const isHalf = once(turns, 'half')
  const gate = createServer((client) => {
    const server = connectTcp(port, '127.0.0.1')
    t.after(() => [client, server].forEach((socket) => socket.destroy()))
    for (const socket of [client, server]) socket.on('error', () => {})
    server.pipe(client)
    server.once('data', () => turns.emit('half'))
    client.once('data', (hello) => {
      client.pause()
      server.write(hello)
      turns.once('open', () => client.pipe(server))
    })
  })
  t.after(() => gate.close())
  await new Promise<void>((resolve) => void gate.listen(0, '127.0.0.1', () => resolve()))
  return { port: (gate.address() as AddressInfo).port, isHalf, open: () => void turns.emit('open') }
}
