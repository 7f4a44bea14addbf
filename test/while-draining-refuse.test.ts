import assert from 'node:assert/strict'
import { answersIn, assertAnswered, saysClose } from './helpers/answers.ts'
import { ask, dial, requestFor, waitUntilRefused } from './helpers/connection.ts'
import { httpAndHttps, startServer } from './helpers/http-server.ts'
import { assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1 } from './helpers/run.ts'

for (const [name, tls] of httpAndHttps) {
  asChildAndPid1(
    `${name}: whileDraining: 'refuse' answers 503 to new requests, not to the requests in flight`,
    async (t, pid1) => {
      const { run, port } = await startServer(t, { pid1, tls, drain: { whileDraining: 'refuse', lingerMs: 3000 } })
      const late = await dial(t, port, { tls })
      await ask(late)
      const busy = await dial(t, port, { tls })
      busy.send(requestFor('/slow?ms=700'))
      await run.line(/got/)
      run.signal('SIGTERM')
      await waitUntilRefused(port)
      const body = 'a body that nobody wants'
      late.send(`POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n`)
      await late.received(/503[^]*\r\n\r\n/)
      late.send(body)
      const answer = answersIn((await late.ended).text)[1] ?? ''
      assert.match(answer, /^HTTP\/1\.1 503 /)
      assert.match(answer, /^retry-after: 1\r$/im)
      assert.equal(saysClose(answer), true, answer)
      assert.equal((await late.ended).how, 'FIN')
      assertAnswered((await busy.ended).text, 'answered')
      const ended = await run.ended
      assertStoppedWell(ended)
      const { ended: told, cut } = reportIn(ended).connections
      assert.deepEqual({ told, cut }, { told: 0, cut: 0 })
    },
  )
}

asChildAndPid1("whileDraining: 'refuse' answers 503 to all requests that arrive together", async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1, drain: { whileDraining: 'refuse', lingerMs: 3000 } })
  const late = await dial(t, port)
  await ask(late)
  run.signal('SIGTERM')
  await waitUntilRefused(port)
  late.send(requestFor('/').repeat(3))
  const answers = answersIn((await late.ended).text)
  assert.deepEqual(
    answers.map((answer) => / (\d+) /.exec(answer)?.[1]),
    ['200', '503', '503', '503'],
  )
  assert.deepEqual(answers.map(saysClose), [false, false, false, true])
  assertStoppedWell(await run.ended)
})

asChildAndPid1("whileDraining: 'refuse' answers no 100 Continue to a request that it refuses", async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1, drain: { whileDraining: 'refuse', lingerMs: 3000 } })
  const late = await dial(t, port)
  await ask(late)
  run.signal('SIGTERM')
  await waitUntilRefused(port)
  late.send('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n')
  const { text, how } = await late.received(/ 503 /).then(() => late.ended)
  assert.doesNotMatch(text, / 100 /)
  assert.equal(how, 'FIN')
  assertStoppedWell(await run.ended)
})
