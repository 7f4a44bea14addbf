// The shutdown runs in the process of the test, which goes on.
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { configure, shutdown } from 'pid1'
import { startApp } from './app.js'

beforeEach(() => configure({ exit: false, lingerMs: 0 }))

test('a shutdown closes the server and the database', async () => {
  const lines = []
  const port = await startApp(0, (line) => lines.push(line))
  const { exitCode } = await shutdown('test')
  assert.equal(exitCode, 0)
  assert.deepEqual(lines, ['database closed'])
  await assert.rejects(fetch(`http://localhost:${port}/`))
})

test('a request in flight is answered', async () => {
  const port = await startApp(0, () => {})
  const answer = fetch(`http://localhost:${port}/slow`).then((response) => response.text())
  await new Promise((resolve) => setTimeout(resolve, 100)) // until the app has the request
  const { connections } = await shutdown('test')
  assert.equal(await answer, 'hello\n')
  assert.equal(connections.cut, 0)
})
