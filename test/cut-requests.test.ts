import assert from 'node:assert/strict'
import { saysClose } from './helpers/answers.ts'
import { dial, requestFor } from './helpers/connection.ts'
import { httpAndHttps, startServer } from './helpers/http-server.ts'
import { assertEnded, assertStoppedWell, hooksOf, reportIn } from './helpers/report.ts'
import { asChildAndPid1, type Ended } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

for (const [how, lingerMs] of [
  ['', undefined],
  [', also without a linger', 0],
] as const) {
  asChildAndPid1(`a request that never ends is cut${how}: with 503, and exit code 124`, async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, configure: { gracePeriodMs: 1000, lingerMs } })
    const connection = await dial(t, port)
    connection.send(requestFor('http://user:password@localhost/never?ms=0&token=secret'))
    await run.line(/got/)
    run.signal('SIGTERM')
    const { text, how: end } = await connection.ended
    assert.match(text, /^HTTP\/1\.1 503 /)
    assert.equal(saysClose(text), true, text)
    assert.equal(end, 'FIN')
    assertCut(await run.ended, /^pid1: the server on port \d+ did not answer in time: GET \/never\n$/)
  })
}

asChildAndPid1('a request is cut even if a library has changed its parser', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1, configure: { gracePeriodMs: 1000 } })
  const connection = await dial(t, port)
  connection.send(requestFor('/changed-parser?ms=0'))
  await run.line(/got/)
  run.signal('SIGTERM')
  assert.match((await connection.ended).text, /^HTTP\/1\.1 503 /)
  assertCut(await run.ended, /^pid1: the server on port \d+ did not answer in time: GET \/changed-parser\n$/)
})

asChildAndPid1('an answer that has begun and never ends is cut', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1, configure: { gracePeriodMs: 1000 } })
  const connection = await dial(t, port)
  connection.send(requestFor('/begun-never?ms=0'))
  await run.line(/got/)
  run.signal('SIGTERM')
  const { text } = await connection.ended
  assert.match(text, /^HTTP\/1\.1 200 [^]*begun, /)
  assert.doesNotMatch(text, /\r\n0\r\n\r\n$/) // a client must not take it for complete
  assertCut(await run.ended, /^pid1: the server on port \d+ did not answer in time: GET \/begun-never\n$/)
})

for (const [name, tls] of httpAndHttps) {
  asChildAndPid1(`${name}: an HTTP/1.0 answer that is cut does not look complete`, async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, tls, configure: { gracePeriodMs: 1000 } })
    const connection = await dial(t, port, { tls })
    connection.send(requestFor('/begun-never?ms=0', { version: '1.0' }))
    await connection.received(/begun, /)
    run.signal('SIGTERM')
    assert.equal((await connection.ended).how, 'reset')
    assertCut(await run.ended, /^pid1: the server on port \d+ did not answer in time: GET \/begun-never\n$/)
  })
}

for (const [path, cut] of [
  ['/destroyed', 1],
  ['/destroyed-begun', 1],
  ['/destroyed-events', 0],
] as const) {
  asChildAndPid1(
    `an answer that the app itself aborts counts as cut, unless it is an event stream (${path})`,
    async (t, pid1) => {
      const { run, port } = await startServer(t, { pid1 })
      const connection = await dial(t, port)
      connection.send(requestFor(`${path}?ms=300`))
      await run.line(/got/)
      run.signal('SIGTERM')
      await connection.ended
      const ended = await run.ended
      assertStoppedWell(ended)
      assert.deepEqual(reportIn(ended).connections, { drained: 0, ended: 1 - cut, cut })
    },
  )
}

function assertCut(ended: Ended, stderr: RegExp): void {
  assertEnded(ended, 124)
  assert.match(ended.stderr, stderr)
  assertTook(ended.ms, { over: 600, under: 1000 }) // of 750, in any case before SIGKILL
  const report = reportIn(ended)
  const { connections, exitCode } = report
  assert.equal(connections.cut, 1)
  assert.equal(exitCode, 124)
  assert.deepEqual(
    hooksOf(report, 'intake').map(({ outcome }) => outcome),
    ['cut'],
  )
}
