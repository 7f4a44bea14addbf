import assert from 'node:assert/strict'
import { once } from 'node:events'
import { lstatSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { text as readAll } from 'node:stream/consumers'
import { makeFolder } from './helpers/folder.ts'
import { assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, start } from './helpers/run.ts'

asChildAndPid1('a server on a Unix socket is drained', async (t, pid1) => {
  const folder = makeFolder(t)
  const socketPath = join(folder, 'socket')
  const run = start(t, 'servers/unix-socket.js', { pid1, args: [JSON.stringify({ path: socketPath })] })
  await run.line(/ready/)
  const answered = once(get({ socketPath, path: '/slow?ms=300' }), 'response') as Promise<[IncomingMessage]>
  await run.line(/got/)
  run.signal('SIGTERM')
  const [response] = await answered
  assert.deepEqual([response.headers.connection, await readAll(response)], ['close', 'answered'])
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
})

for (const [way, isKept] of [
  ['', true],
  [', with the server registered after listen', true],
  [' unless no second name can be made', false],
] as const) {
  asChildAndPid1(
    `the path of a Unix socket that another process has bound since is not removed${way}`,
    async (t, pid1) => {
      const folder = makeFolder(t)
      const socketPath = join(folder, 'socket')
      const args = [JSON.stringify({ path: socketPath, late: way.includes('when') })]
      const run = start(t, 'servers/unix-socket.js', { pid1, args })
      await run.line(/ready/)
      const before = lstatSync(socketPath, { bigint: true })
      rmSync(socketPath)
      const successor = createServer((_request, response) => response.end('answered by the successor'))
      t.after(() => successor.close())
      await once(successor.listen(socketPath), 'listening')
      // A file with the second name is in the way.
      if (!isKept) writeFileSync(`${socketPath}.${before.dev}-${before.ino}`, '')
      run.signal('SIGTERM')
      assertStoppedWell(await run.ended)
      assert.deepEqual(readdirSync(folder).slice(0, 1), [isKept ? 'socket' : `socket.${before.dev}-${before.ino}`])
      if (!isKept) return
      const [response] = (await once(get({ socketPath }), 'response')) as [IncomingMessage]
      assert.equal(await readAll(response), 'answered by the successor')
    },
  )
}

asChildAndPid1('an abstract Unix socket is drained, and no file is left behind', async (t, pid1) => {
  const folder = makeFolder(t)
  const path = join(folder, 'socket')
  for (const socketPath of [path, `\0${path}`]) {
    const run = start(t, 'servers/unix-socket.js', { pid1, args: [JSON.stringify({ path: socketPath })] })
    await run.line(/ready/)
    run.signal('SIGTERM')
    assertStoppedWell(await run.ended)
    assert.deepEqual(readdirSync(folder), [])
  }
})
