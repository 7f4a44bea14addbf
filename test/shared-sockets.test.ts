import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { dial, requestFor } from './helpers/connection.ts'
import { assertStoppedWell } from './helpers/report.ts'
import { start } from './helpers/run.ts'

// Whoever shares a listening socket goes on accepting when one of them has stopped: no filter stays behind.

test('a child that was handed the socket goes on accepting when its parent has left', async (t) => {
  const run = start(t, 'servers/shares-handle.js')
  const port = await run.port()
  const child = Number((await run.line(/child (\d+)/))[1])
  t.after(() => process.kill(child, 'SIGKILL'))
  run.signal('SIGTERM')
  assertStoppedWell(await run.ended)
  for (let turn = 0; turn < 20; turn++) await assertAnswers(t, port)
})

test('of two that have inherited a socket, one goes on accepting when the other has left', async (t) => {
  const run = start(t, 'servers/inherits-fd.js')
  const port = await run.port()
  const [, first, second] = await run.line(/heir (\d+)[^]*heir (\d+)/)
  t.after(() => process.kill(Number(second), 'SIGKILL'))
  process.kill(Number(first), 'SIGTERM')
  await run.line(/an heir has left with 0/)
  for (let turn = 0; turn < 20; turn++) await assertAnswers(t, port)
})

async function assertAnswers(t: TestContext, port: number): Promise<void> {
  const connection = await dial(t, port)
  connection.send(requestFor('/'))
  assert.ok(await connection.received(/answered/))
}
