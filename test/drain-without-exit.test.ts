import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { configure, drainOnShutdown, shutdown, undrain } from 'pid1'
import { WebSocketServer } from 'ws'
import { answersIn, assertAnswered } from './helpers/answers.ts'
import { ask, dial, requestFor, upgradeFor } from './helpers/connection.ts'
import { assertStoppedWell, hooksOf } from './helpers/report.ts'
import { start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

test('in a test, with exit: false, a server is drained and the process goes on', async (t) => {
  configure({ exit: false })
  for (const round of [1, 2]) {
    const server = createServer((request, response) => {
      if (request.url === '/') return void response.end('answered')
      setTimeout(() => response.end(`answered in round ${round}`), 200)
    })
    drainOnShutdown(server, { lingerMs: 0 })
    const port = await new Promise<number>((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
    })
    const connection = await dial(t, port)
    await ask(connection)
    connection.send(requestFor('/slow'))
    await new Promise((resolve) => void server.once('request', resolve))
    const { reason, stages, connections } = await shutdown(`round ${round}`)
    assert.equal(reason, `round ${round}`)
    assert.deepEqual(
      hooksOf({ stages }, 'intake').map(({ outcome }) => outcome),
      ['done'],
    )
    assert.deepEqual(connections, { drained: 1, ended: 0, cut: 0 })
    assert.equal(server.listening, false)
    assertAnswered(answersIn((await connection.ended).text)[1] ?? '', `answered in round ${round}`)
  }
})

test('in a test, with exit: false, a server that was undrained goes on, and can be drained again', async (t) => {
  configure({ exit: false })
  const handler = (_request: IncomingMessage, response: ServerResponse) =>
    void setTimeout(() => response.end('answered'), 200)
  const server = drainOnShutdown(createServer(handler), { afterDrain: () => assert.fail('undrained') })
  const further = createServer(handler)
  t.after(() => further.close())
  for (const one of [server, further]) await once(one.listen(0, '127.0.0.1'), 'listening')
  undrain(server)
  undrain(server)
  undrain(createServer())
  const { stages } = await shutdown()
  assert.deepEqual(hooksOf({ stages }, 'intake'), [])
  assert.deepEqual([server.listening, further.listening], [true, true])
  configure({ exit: false })
  let drained = 0
  drainOnShutdown(server, { lingerMs: 0, afterDrain: () => drained++ })
  const connection = await dial(t, (server.address() as AddressInfo).port)
  connection.send(requestFor('/'))
  await once(server, 'request')
  const { connections } = await shutdown()
  assert.deepEqual({ connections, drained }, { connections: { drained: 1, ended: 0, cut: 0 }, drained: 1 })
  assertAnswered((await connection.ended).text, 'answered')
})

for (const way of ['server', 'noServer'] as const) {
  test(`in a test, with exit: false, a ws server is drained each time that it is registered (${way})`, async (t) => {
    const server = createServer()
    t.after(() => server.close())
    const sockets = new WebSocketServer(way === 'server' ? { server } : { noServer: true })
    if (way === 'noServer') {
      server.on('upgrade', (request, socket, head) => sockets.handleUpgrade(request, socket, head, () => {}))
    }
    for (const round of [1, 2]) {
      configure({ exit: false })
      if (!server.listening) await once(server.listen(0, '127.0.0.1'), 'listening')
      drainOnShutdown(sockets, { endlessMs: 1e6 })
      drainOnShutdown(sockets, { endlessMs: 50 })
      const client = await dial(t, (server.address() as AddressInfo).port, { stays: true })
      client.send(upgradeFor('/'))
      await client.received(/ 101 /)
      const { connections, durationMs } = await shutdown(`round ${round}`)
      assert.deepEqual(connections, { drained: 0, ended: 1, cut: 0 })
      assertTook(durationMs, { under: 900 })
      assert.match((await client.ended).text, /shutdown$/)
    }
    undrain(sockets)
    assert.deepEqual(hooksOf(await shutdown(), 'intake'), [])
  })
}

for (const kind of ['http', 'https', 'http2 with TLS and HTTP/1', 'ws', 'Fastify']) {
  test(`with exit: false, a drained server leaves no memory and no timer behind: ${kind}`, async (t) => {
    const run = start(t, 'servers/freed.js', { nodeArgs: ['--expose-gc'], args: [JSON.stringify({ kind })] })
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.match(ended.stdout, /^10 drained, 0 left, 0 timers\n$/)
  })
}
