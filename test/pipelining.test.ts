import assert from 'node:assert/strict'
import { answersIn, assertAnswered, assertAnsweredInTurn, saysClose } from './helpers/answers.ts'
import { ask, dial, requestFor, waitUntilRefused } from './helpers/connection.ts'
import { httpAndHttps, startServer } from './helpers/http-server.ts'
import { assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1 } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

asChildAndPid1('three pipelined requests are all answered, and only the last answer says close', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1 })
  const connection = await dial(t, port)
  connection.send(requestFor('/slow?ms=300') + requestFor('/slow?ms=400') + requestFor('/slow?ms=500'))
  await run.line(/(got[^]*){3}/)
  run.signal('SIGTERM')
  const { text, how } = await connection.ended
  const answers = answersIn(text)
  assert.equal(answers.length, 3, text)
  for (const answer of answers) assertAnswered(answer, 'answered')
  assert.deepEqual(answers.map(saysClose), [false, false, true])
  assert.equal(how, 'FIN')
  assertStoppedWell(await run.ended)
})

// The last request may be answered, behind the others, before it is known to be the last one.
asChildAndPid1('pipelined requests that are answered at the same time are all answered', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1 })
  const connection = await dial(t, port)
  connection.send(requestFor('/slow?ms=300').repeat(4))
  await run.line(/(got[^]*){4}/)
  run.signal('SIGTERM')
  const { text, how } = await connection.ended
  const answers = answersIn(text)
  assert.equal(answers.length, 4, text)
  for (const answer of answers) assertAnswered(answer, 'answered')
  assert.deepEqual(answers.slice(0, -1).map(saysClose), [false, false, false])
  assert.equal(how, 'FIN')
  assertStoppedWell(await run.ended)
})

for (const [name, first] of [
  ['that is not answered yet', '/slow?ms=600'],
  ['of which only the head was sent', '/head-first?ms=600'],
] as const) {
  asChildAndPid1(`requests that arrive behind one ${name} are all answered`, async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1 })
    const connection = await dial(t, port)
    connection.send(requestFor(first))
    await run.line(/got/)
    run.signal('SIGTERM')
    await waitUntilRefused(port)
    for (let handled = 1; handled <= 3; handled++) {
      connection.send(requestFor('/block?for=0')) // answered at once
      await run.line(new RegExp(`(blocked[^]*){${handled}}`))
    }
    await assertAnsweredInTurn(connection, 4)
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.equal(reportIn(ended).connections.cut, 0)
  })
}

for (const [name, tls] of httpAndHttps) {
  asChildAndPid1(
    `${name}: requests that arrive together, and are answered at once, are all answered`,
    async (t, pid1) => {
      const { run, port } = await startServer(t, { pid1, tls, drain: { lingerMs: 3000 } })
      const connection = await dial(t, port, { tls })
      await ask(connection)
      run.signal('SIGTERM')
      await waitUntilRefused(port)
      connection.send(requestFor('/block?for=0').repeat(3))
      await assertAnsweredInTurn(connection, 4)
      const ended = await run.ended
      assertStoppedWell(ended)
      assertTook(ended.ms, { under: 2500 })
      assert.equal(reportIn(ended).connections.cut, 0)
    },
  )
}

asChildAndPid1('requests that wait in the kernel while an answer is made are all answered', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1, drain: { lingerMs: 3000 } })
  const connection = await dial(t, port)
  await ask(connection)
  run.signal('SIGTERM')
  await waitUntilRefused(port)
  connection.send(requestFor('/block?for=300'))
  await run.line(/blocked/)
  connection.send(requestFor('/block?for=0').repeat(2))
  await assertAnsweredInTurn(connection, 4)
  assertStoppedWell(await run.ended)
})

asChildAndPid1('a request behind an answer with Connection: close does not reach the app', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1, drain: { lingerMs: 3000 } })
  const connection = await dial(t, port)
  await ask(connection)
  run.signal('SIGTERM')
  await waitUntilRefused(port)
  connection.send(requestFor('/begun?ms=300'))
  await connection.received(/begun, /)
  connection.send(requestFor('/block?for=0'))
  const { text, how } = await connection.ended
  assert.match(text, /begun, [^]*answered\r\n0\r\n\r\n$/)
  assert.equal(how, 'FIN')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.doesNotMatch(ended.stdout, /blocked/)
  assert.equal(reportIn(ended).connections.cut, 0)
})
