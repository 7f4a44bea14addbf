import assert from 'node:assert/strict'
import { answersIn, assertAnswered, saysClose } from './helpers/answers.ts'
import { dial, requestFor, waitUntilRefused } from './helpers/connection.ts'
import { httpAndHttps, startServer } from './helpers/http-server.ts'
import { assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1 } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

for (const [name, tls] of httpAndHttps) {
  asChildAndPid1(`${name}: a request in flight is answered with Connection: close`, async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, tls })
    const connection = await dial(t, port, { tls })
    connection.send(requestFor('/slow?ms=500'))
    await run.line(/got/)
    run.signal('SIGTERM')
    const { text, how } = await connection.ended
    assertAnswered(text, 'answered')
    assert.equal(saysClose(text), true, text)
    assert.equal(how, 'FIN')
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { over: 300, under: 1400 })
    assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
  })

  asChildAndPid1(`${name}: an answer that has begun is completed`, async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, tls, drain: { lingerMs: 300 } })
    const connection = await dial(t, port, { tls })
    connection.send(requestFor('/begun?ms=500'))
    await run.line(/got/)
    await connection.received(/begun/)
    run.signal('SIGTERM')
    const { text, how } = await connection.ended
    assert.match(text, /^HTTP\/1\.1 200 [^]*begun, [^]*answered\r\n0\r\n\r\n$/)
    assert.equal(how, 'FIN')
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 1500 })
    assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
  })

  asChildAndPid1(`${name}: a long poll that ends on shutdownSignal() is answered at once`, async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, tls, drain: { lingerMs: 300 } })
    const connection = await dial(t, port, { tls })
    connection.send(requestFor('/poll?ms=0'))
    await run.line(/got/)
    run.signal('SIGTERM')
    await connection.received(/answered: nothing new/)
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 1900 })
  })
}

asChildAndPid1('new connections are refused while requests in flight are served', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1 })
  const connection = await dial(t, port)
  connection.send(requestFor('/slow?ms=2000'))
  await run.line(/got/)
  run.signal('SIGTERM')
  await waitUntilRefused(port)
  connection.send(requestFor('/')) // pipelined behind the first
  const answers = answersIn((await connection.ended).text)
  assert.deepEqual(answers.map(saysClose), [false, true])
  for (const answer of answers) assertAnswered(answer, 'answered')
  assertStoppedWell(await run.ended)
})

for (const [name, headers] of [
  ['without keep-alive', ''],
  ['with keep-alive', 'Connection: keep-alive\r\n'],
] as const) {
  asChildAndPid1(`HTTP/1.0 ${name}: a request in flight is answered with Connection: close`, async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1 })
    const connection = await dial(t, port)
    connection.send(requestFor('/slow?ms=300', { version: '1.0', headers }))
    await run.line(/got/)
    run.signal('SIGTERM')
    const { text, how } = await connection.ended
    assertAnswered(text, 'answered')
    assert.equal(saysClose(text), true, text)
    assert.equal(how, 'FIN')
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 1200 })
  })
}

for (const path of ['/set-header', '/object', '/raw', '/pairs']) {
  asChildAndPid1(`Connection: close replaces the app's own Connection: keep-alive (${path})`, async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1 })
    const connection = await dial(t, port)
    connection.send(requestFor(`${path}?ms=300`))
    await run.line(/got/)
    run.signal('SIGTERM')
    const { text, how } = await connection.ended
    assertAnswered(text, 'answered')
    assert.deepEqual(
      text.match(/^connection: .*(?=\r)/gim)?.map((header) => header.toLowerCase()),
      ['connection: close'],
    )
    if (path !== '/set-header') assert.match(text, /^x-own: 1\r$/m)
    assert.equal(how, 'FIN')
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 1200 })
  })
}

asChildAndPid1('a client that disconnects before its answer does not count as cut', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1 })
  const connection = await dial(t, port)
  connection.send(requestFor('/slow?ms=500'))
  await run.line(/got/)
  run.signal('SIGTERM')
  await waitUntilRefused(port)
  connection.end()
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.equal(reportIn(ended).connections.cut, 0)
})

asChildAndPid1('without hooks a request may use 80 % of the time', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1, configure: { gracePeriodMs: 2500 } })
  const connection = await dial(t, port)
  connection.send(requestFor('/slow?ms=1800')) // of 2250
  await run.line(/got/)
  run.signal('SIGTERM')
  assertAnswered((await connection.ended).text, 'answered')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 2300 })
})
