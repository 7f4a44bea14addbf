import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { dial, requestFor } from './helpers/connection.ts'
import { startClients } from './helpers/load.ts'
import { assertStoppedWell } from './helpers/report.ts'
import { asChildAndPid1, start } from './helpers/run.ts'

// Whoever shares a listening socket goes on accepting when one of them has stopped: no filter stays behind.

test('a child that was given the socket goes on accepting when its parent has exited', async (t) => {
  const run = start(t, 'servers/shares-handle.js')
  const port = await run.port()
  const child = Number((await run.line(/child (\d+)/))[1])
  t.after(() => process.kill(child, 'SIGKILL'))
  run.signal('SIGTERM')
  assertStoppedWell(await run.ended)
  for (let turn = 0; turn < 20; turn++) await assertAnswers(t, port)
})

test('of two processes that inherited a socket, one goes on accepting when the other has exited', async (t) => {
  const run = start(t, 'servers/inherits-fd.js')
  const port = await run.port()
  const [, first, second] = await run.line(/heir (\d+)[^]*heir (\d+)/)
  t.after(() => process.kill(Number(second), 'SIGKILL'))
  process.kill(Number(first), 'SIGTERM')
  await run.line(/an heir has left with 0/)
  for (let turn = 0; turn < 20; turn++) await assertAnswers(t, port)
})

// Node has this option since 23.1.
if (Number(process.versions.node.split('.')[0]) >= 24) {
  asChildAndPid1(
    'of two processes on one port (reusePort), one gets all new connections when the other stops',
    async (t, pid1) => {
      const first = start(t, 'servers/reuse-port.js', { pid1 })
      const port = await first.port()
      const second = start(t, 'servers/reuse-port.js', { pid1, args: [JSON.stringify({ port })] })
      await second.port()
      const clients = await startClients(t, port, { mode: 'new', rate: 500 })
      first.signal('SIGTERM')
      assertStoppedWell(await first.ended)
      for (let turn = 0; turn < 20; turn++) await assertAnswers(t, port)
      clients.stop()
      const { lost, refused, detail } = await clients.counted
      assert.deepEqual({ lost, refused, detail }, { lost: 0, refused: 0, detail: {} })
    },
  )
}

async function assertAnswers(t: TestContext, port: number): Promise<void> {
  const connection = await dial(t, port)
  connection.send(requestFor('/'))
  assert.ok(await connection.received(/answered/))
}
