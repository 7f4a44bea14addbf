import assert from 'node:assert/strict'
import { answersIn, assertAnswered, saysClose } from './helpers/answers.ts'
import { ask, dial, requestFor, waitUntilRefused } from './helpers/connection.ts'
import { assertStoppedWell, drainsIn, reportIn } from './helpers/report.ts'
import { asChildAndPid1, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

for (const [name, ...when] of [
  ['before listen', { time: 'before listen', drain: { lingerMs: 100 } }],
  ['after listen', { time: 'after listen', drain: { lingerMs: 100 } }],
  ['after connections were made', { time: 'after a request', drain: { lingerMs: 100 } }],
  ['twice', { time: 'before listen', drain: { endlessMs: 100 } }, { time: 'after listen', drain: { lingerMs: 100 } }],
] as const) {
  asChildAndPid1(`a server that is registered ${name} is drained once`, async (t, pid1) => {
    const run = start(t, 'servers/when.js', { pid1, args: [JSON.stringify({ when })] })
    const port = await run.port()
    const silent = await dial(t, port)
    const idle = await dial(t, port)
    await ask(idle)
    const busy = await dial(t, port)
    await ask(busy)
    busy.send(requestFor('/slow?ms=300'))
    await run.line(/got/)
    run.signal('SIGTERM')
    const answers = answersIn((await busy.ended).text)
    assertAnswered(answers[1] ?? '', 'answered')
    assert.deepEqual(answers.map(saysClose), [false, true])
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 900 }) // the linger is that of the options
    assert.deepEqual([(await silent.ended).how, (await idle.ended).how], ['FIN', 'FIN'])
    assert.equal(drainsIn(ended).length, 1)
  })
}

asChildAndPid1('a request that began before its server was registered is answered', async (t, pid1) => {
  const when = [{ time: 'after a request', drain: {} }]
  const run = start(t, 'servers/when.js', { pid1, args: [JSON.stringify({ when })] })
  const busy = await dial(t, await run.port())
  busy.send(requestFor('/slow?ms=500'))
  await run.line(/got/)
  run.signal('SIGTERM')
  const { text, how } = await busy.ended
  assertAnswered(text, 'answered')
  assert.equal(saysClose(text), true, text)
  assert.equal(how, 'FIN')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
})

for (const [stage, afterMs] of [
  ['intake', 0],
  ['intake', 100],
  ['cleanup', 100],
] as const) {
  asChildAndPid1(`a server that begins to listen after the signal, in ${stage}, is closed`, async (t, pid1) => {
    const run = start(t, 'servers/late-listen.js', { pid1, args: [JSON.stringify({ stage, afterMs })] })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const port = await run.port()
    await run.line(/closed/)
    await waitUntilRefused(port)
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 2000 })
  })
}

for (const app of ['express', 'koa']) {
  asChildAndPid1(`${app}: the server that app.listen() returns is drained`, async (t, pid1) => {
    const run = start(t, 'servers/framework.js', { pid1, args: [JSON.stringify({ app })] })
    const port = await run.port()
    const connection = await dial(t, port)
    connection.send(requestFor('/slow?ms=300'))
    await run.line(/got/)
    run.signal('SIGTERM')
    const { text, how } = await connection.ended
    assertAnswered(text, 'answered')
    assert.equal(saysClose(text), true, text)
    assert.equal(how, 'FIN')
    assertStoppedWell(await run.ended)
  })
}

asChildAndPid1('several servers are drained at once', async (t, pid1) => {
  const servers = ['http', 'https', 'http'] as const
  const run = start(t, 'servers/several.js', { pid1, args: [JSON.stringify({ servers })] })
  const ports = (await run.line(/ports (.*)/))[1]?.split(' ').map(Number) ?? []
  const connections = await Promise.all(ports.map((port, at) => dial(t, port, { tls: servers[at] === 'https' })))
  for (const connection of connections) connection.send(requestFor('/slow?ms=400'))
  await run.line(/(got[^]*){3}/)
  run.signal('SIGTERM')
  for (const connection of connections) assertAnswered((await connection.ended).text, 'answered')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 1300 })
  assert.deepEqual(drainsIn(ended).toSorted(), ports.map((port) => `the server on port ${port}`).toSorted())
  assert.deepEqual(reportIn(ended).connections, { drained: 3, ended: 0, cut: 0 })
})
