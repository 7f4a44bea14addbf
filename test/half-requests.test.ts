import assert from 'node:assert/strict'
import { assertAnswered, assertLastAnswer, saysClose } from './helpers/answers.ts'
import { ask, dial, requestFor, waitUntilRefused } from './helpers/connection.ts'
import { httpAndHttps, startServer } from './helpers/http-server.ts'
import { assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1 } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

asChildAndPid1('half a request head does not delay the stop for long', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1, drain: { lingerMs: 300 } })
  const connection = await dial(t, port)
  connection.send('GET / HTTP/1.1\r\nHost: local')
  await ask(await dial(t, port)) // by then the server has read the other one's bytes too
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 900 })
  assert.equal((await connection.ended).text, '')
  assert.equal(reportIn(ended).connections.cut, 0)
})

asChildAndPid1('half a request head that is completed in time is answered', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1, drain: { endlessMs: 3000 } })
  const connection = await dial(t, port)
  connection.send('GET / HTTP/1.1\r\nHost: local')
  await ask(await dial(t, port))
  run.signal('SIGTERM')
  await waitUntilRefused(port)
  connection.send('host\r\n\r\n')
  const { text, how } = await connection.ended
  assertAnswered(text, 'answered')
  assert.equal(saysClose(text), true, text)
  assert.equal(how, 'FIN')
  assertStoppedWell(await run.ended)
})

for (const [name, tls] of httpAndHttps) {
  // Without allowHalfOpen Node itself closes the connection of such a client.
  for (const [what, httpAllowHalfOpen] of [
    ['gets its answer where the server allows that', true],
    ['does not delay the stop', false],
  ] as const) {
    if (tls && httpAllowHalfOpen) continue // over TLS it always does
    asChildAndPid1(`${name}: half-closed: a client that has ended its side ${what}`, async (t, pid1) => {
      const { run, port } = await startServer(t, { pid1, tls, httpAllowHalfOpen })
      const connection = await dial(t, port, { tls, stays: true })
      connection.send(requestFor('/slow?ms=500'))
      await run.line(/got/)
      connection.end()
      run.signal('SIGTERM')
      if (httpAllowHalfOpen) await assertLastAnswer(connection, /answered/)
      else assert.equal((await connection.ended).how, 'FIN')
      const ended = await run.ended
      assertStoppedWell(ended)
      assertTook(ended.ms, { under: 2000 })
    })
  }
}
