import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text as readAll } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { configure, drainOnShutdown, shutdown } from 'pid1'
import { type Connection, dial, requestFor, waitUntilRefused } from './helpers/connection.ts'
import { assertEnded, assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, type Ended, type Run, start } from './helpers/run.ts'

const httpAndHttps = [
  ['http', false],
  ['https', true],
] as const

asChildAndPid1('an idle server stops at once', async (t, pid1) => {
  const { run } = await startServer(t, pid1)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.ok(ended.ms < 900, `${ended.ms} ms`)
  assert.deepEqual(reportIn(ended).connections, { drained: 0, ended: 0, cut: 0 })
})

for (const [name, tls] of httpAndHttps) {
  asChildAndPid1(`${name}: a connection that was idle for longer than lingerMs is closed at once`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { tls, drain: { lingerMs: 500 } })
    const connection = await dial(t, port, { tls })
    await ask(connection)
    await wait(700)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.ok(ended.ms < 450, `${ended.ms} ms`)
    assert.equal((await connection.ended).how, 'FIN')
    assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
  })
}

test('where the kernel cannot be asked, a connection counts as just used', async (t) => {
  const args = [JSON.stringify({ drain: { lingerMs: 500 } })]
  const run = start(t, 'servers/http.js', { nodeArgs: ['--no-addons'], args })
  const connection = await dial(t, await run.port())
  await ask(connection)
  await wait(700)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.ok(ended.ms > 450 && ended.ms < 1500, `${ended.ms} ms`)
  assert.equal((await connection.ended).how, 'FIN')
})

asChildAndPid1('a connection that was just used leaves when it was idle for lingerMs', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1)
  const connection = await dial(t, port)
  await ask(connection)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.ok(ended.ms > 800 && ended.ms < 2000, `${ended.ms} ms`)
  assert.equal((await connection.ended).how, 'FIN')
  assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
})

asChildAndPid1(
  'while clients come that were quiet for longer than lingerMs, the others stay, for a time',
  async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { drain: { lingerMs: 300, drainDelayMs: 300 } })
    const connections = await Promise.all(Array.from({ length: 8 }, () => dial(t, port)))
    for (const connection of connections) await ask(connection)
    await wait(500)
    run.signal('SIGTERM')
    await wait(150)
    connections[0]?.send(requestFor('/'))
    await waitUntilRefused(port)
    for (const connection of connections.slice(1, 6)) {
      connection.send(requestFor('/'))
      assert.deepEqual(answersIn((await connection.ended).text).map(saysClose), [false, true])
      await wait(200)
    }
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.ok(ended.ms > 1200 && ended.ms < 2000, `${ended.ms} ms`)
    const { ended: told, cut } = reportIn(ended).connections
    assert.deepEqual({ told, cut }, { told: 0, cut: 0 })
    for (const connection of connections) assert.equal((await connection.ended).how, 'FIN')
  },
)

asChildAndPid1('a request on a connection that lingers is answered, and is the last one there', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, { drain: { lingerMs: 3000 } })
  const connection = await dial(t, port)
  await ask(connection)
  run.signal('SIGTERM')
  await waitUntilRefused(port)
  connection.send(requestFor('/'))
  const { text, how } = await connection.ended
  assert.deepEqual(answersIn(text).map(saysClose), [false, true])
  assert.equal(how, 'FIN')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.ok(ended.ms < 2500, `${ended.ms} ms`)
})

for (const [name, tls] of httpAndHttps) {
  asChildAndPid1(`${name}: a request in flight is answered, and told to close`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { tls })
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
    assert.ok(ended.ms > 300 && ended.ms < 1400, `${ended.ms} ms`)
    assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
  })

  asChildAndPid1(`${name}: an answer that has begun is finished`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { tls, drain: { lingerMs: 300 } })
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
    assert.ok(ended.ms < 1500, `${ended.ms} ms`)
    assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
  })

  asChildAndPid1(`${name}: a silent connection does not hold the server`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { tls, drain: { lingerMs: 300 } })
    const connection = await dial(t, port)
    await ask(await dial(t, port, { tls })) // by then the silent one is accepted too
    run.signal('SIGTERM')
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.ok(ended.ms < 900, `${ended.ms} ms`)
    assert.equal((await connection.ended).how, 'FIN')
    assert.equal(reportIn(ended).connections.cut, 0)
  })
}

asChildAndPid1('new connections are refused while requests in flight are served', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1)
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
  asChildAndPid1(`HTTP/1.0 ${name}: a request in flight is answered, and told to close`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1)
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
    assert.ok(ended.ms < 1200, `${ended.ms} ms`)
  })
}

asChildAndPid1('three pipelined requests are all answered, and only the last answer says close', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1)
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

// The last of them may have been answered, behind the others, before it was known.
asChildAndPid1('pipelined requests that are answered at the same time are all answered', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1)
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

for (const path of ['/set-header', '/object', '/raw']) {
  asChildAndPid1(`an app's own Connection: keep-alive gives way to close (${path})`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1)
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
    assert.ok(ended.ms < 1200, `${ended.ms} ms`)
  })
}

for (const [name, tls] of httpAndHttps) {
  asChildAndPid1(
    `${name}: whileDraining: 'refuse' answers 503 to what comes then, not to what is there`,
    async (t, pid1) => {
      const { run, port } = await startServer(t, pid1, { tls, drain: { whileDraining: 'refuse', lingerMs: 3000 } })
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

asChildAndPid1("whileDraining: 'refuse' asks for no body that it would not take", async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, { drain: { whileDraining: 'refuse', lingerMs: 3000 } })
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

asChildAndPid1('half a request head does not hold the server for long', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, { drain: { lingerMs: 300 } })
  const connection = await dial(t, port)
  connection.send('GET / HTTP/1.1\r\nHost: local')
  await ask(await dial(t, port)) // by then it has read the half one too
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.ok(ended.ms < 900, `${ended.ms} ms`)
  assert.equal((await connection.ended).text, '')
  assert.equal(reportIn(ended).connections.cut, 0)
})

asChildAndPid1('half a request head that is completed in time is answered', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, { drain: { endlessMs: 3000 } })
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

asChildAndPid1('without hooks a request may take 80 % of the time that there is', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, { configure: { gracePeriodMs: 2500 } })
  const connection = await dial(t, port)
  connection.send(requestFor('/slow?ms=1800')) // of 2250
  await run.line(/got/)
  run.signal('SIGTERM')
  assertAnswered((await connection.ended).text, 'answered')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.ok(ended.ms < 2300, `${ended.ms} ms`)
})

asChildAndPid1('a request that never ends is cut: 503, and the exit code says so', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, { configure: { gracePeriodMs: 1000 } })
  const connection = await dial(t, port)
  connection.send(requestFor('/never?ms=0&token=secret'))
  await run.line(/got/)
  run.signal('SIGTERM')
  const { text, how } = await connection.ended
  assert.match(text, /^HTTP\/1\.1 503 /)
  assert.equal(saysClose(text), true, text)
  assert.equal(how, 'FIN')
  assertCut(await run.ended, /^pid1: the server on port \d+ did not answer in time: GET \/never\n$/)
})

asChildAndPid1('an answer that has begun and never ends is cut', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, { configure: { gracePeriodMs: 1000 } })
  const connection = await dial(t, port)
  connection.send(requestFor('/begun-never?ms=0'))
  await run.line(/got/)
  run.signal('SIGTERM')
  const { text } = await connection.ended
  assert.match(text, /^HTTP\/1\.1 200 [^]*begun, /)
  assert.doesNotMatch(text, /\r\n0\r\n\r\n$/) // a client must not take it for complete
  assertCut(await run.ended, /^pid1: the server on port \d+ did not answer in time: GET \/begun-never\n$/)
})

for (const [name, ...when] of [
  ['before listen', { time: 'before listen', drain: { lingerMs: 100 } }],
  ['after listen', { time: 'after listen', drain: { lingerMs: 100 } }],
  ['after connections were made', { time: 'after a request', drain: { lingerMs: 100 } }],
  ['twice', { time: 'before listen', drain: { endlessMs: 100 } }, { time: 'after listen', drain: { lingerMs: 100 } }],
] as const) {
  asChildAndPid1(`a server that is handed over ${name} is drained once`, async (t, pid1) => {
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
    assert.ok(ended.ms < 900, `${ended.ms} ms`) // the linger is that of the options
    assert.deepEqual([(await silent.ended).how, (await idle.ended).how], ['FIN', 'FIN'])
    assert.equal(drainsIn(ended).length, 1)
  })
}

asChildAndPid1('a request that began before its server was handed over is answered', async (t, pid1) => {
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
    assert.ok(ended.ms < 2000, `${ended.ms} ms`)
  })
}

asChildAndPid1('a server that the app itself has closed is forgotten', async (t, pid1) => {
  const run = start(t, 'servers/closed-earlier.js', { pid1 })
  const port = await run.port()
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.deepEqual(drainsIn(ended), [`the server on port ${port}`])
})

for (const [way, said] of [
  ['in its own handler', ['well']],
  ['in an intake hook', ['well']],
  ['in an intake hook, twice', ['well', 'well']],
  ['in a cleanup hook', ['ERR_SERVER_NOT_RUNNING']],
  ['with all connections, in a cleanup hook', []],
] as const) {
  asChildAndPid1(`a server that the app closes too, ${way}, answers the request in flight`, async (t, pid1) => {
    const run = start(t, 'servers/app-closes.js', { pid1, args: [JSON.stringify({ way })] })
    const port = await run.port()
    const connection = await dial(t, port)
    connection.send(requestFor('/slow?ms=400'))
    await run.line(/got/)
    run.signal('SIGTERM')
    assertAnswered((await connection.ended).text, 'answered')
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.ok(ended.ms < 1300, `${ended.ms} ms`)
    assert.deepEqual(ended.stdout.match(/(?<=^closed: ).*/gm) ?? [], said)
    assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
  })
}

asChildAndPid1('an app that closes all its connections itself does not wait for them', async (t, pid1) => {
  const way = 'with all connections, in a hook'
  const run = start(t, 'servers/app-closes.js', { pid1, args: [JSON.stringify({ way })] })
  const connection = await dial(t, await run.port())
  connection.send(requestFor('/slow?ms=400'))
  await run.line(/got/)
  run.signal('SIGTERM')
  assert.equal((await connection.ended).text, '')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.ok(ended.ms < 1300, `${ended.ms} ms`)
  assert.equal(reportIn(ended).connections.cut, 0)
})

asChildAndPid1('drainDelayMs: new connections are served for so long after the signal', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, { drain: { drainDelayMs: 700, lingerMs: 3000 } })
  run.signal('SIGTERM')
  await wait(200)
  const connection = await dial(t, port)
  await ask(connection)
  await waitUntilRefused(port)
  connection.send(requestFor('/'))
  const answers = answersIn((await connection.ended).text)
  assert.deepEqual(answers.map(saysClose), [false, true])
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.ok(ended.ms > 650 && ended.ms < 3000, `${ended.ms} ms`)
})

for (const app of ['express', 'koa']) {
  asChildAndPid1(`${app}: what app.listen() returns is drained`, async (t, pid1) => {
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

asChildAndPid1('a server on a Unix socket is drained', async (t, pid1) => {
  const folder = mkdtempSync(join(tmpdir(), 'socket-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
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
  assert.ok(ended.ms < 1300, `${ended.ms} ms`)
  assert.deepEqual(drainsIn(ended).toSorted(), ports.map((port) => `the server on port ${port}`).toSorted())
  assert.deepEqual(reportIn(ended).connections, { drained: 3, ended: 0, cut: 0 })
})

void test('in a test, with exit: false, a server is drained and the process goes on', async (t) => {
  configure({ exit: false })
  for (const round of [1, 2]) {
    const server = createServer((request, response) => {
      if (request.url === '/') return void response.end('answered')
      setTimeout(() => response.end(`answered in round ${round}`), 200)
    })
    drainOnShutdown(server, { lingerMs: 0 })
    const port = await new Promise<number>((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
    })
    const connection = await dial(t, port)
    await ask(connection)
    connection.send(requestFor('/slow'))
    await new Promise((resolve) => void server.once('request', resolve))
    const { reason, stages, connections } = await shutdown(`round ${round}`)
    assert.equal(reason, `round ${round}`)
    assert.deepEqual(
      stages[0]?.hooks.map(({ outcome }) => outcome),
      ['done'],
    )
    assert.deepEqual(connections, { drained: 1, ended: 0, cut: 0 })
    assert.equal(server.listening, false)
    assertAnswered(answersIn((await connection.ended).text)[1] ?? '', `answered in round ${round}`)
  }
})

async function startServer(t: TestContext, pid1: boolean, options: object = {}): Promise<{ run: Run; port: number }> {
  const run = start(t, 'servers/http.js', { pid1, args: [JSON.stringify(options)] })
  return { run, port: await run.port() }
}

/** Asks, and waits for the whole answer. */
async function ask(connection: Connection): Promise<void> {
  connection.send(requestFor('/'))
  await connection.received(/answered/)
}

/** Several answers on one connection. */
function answersIn(text: string): string[] {
  return text.split(/(?=HTTP\/1\.1 )/)
}

function assertAnswered(text: string, body: string): void {
  assert.match(text, /^HTTP\/1\.1 200 /)
  assert.equal(text.slice(text.indexOf('\r\n\r\n') + 4), body)
}

function saysClose(text: string | undefined): boolean {
  return /^connection: close\r$/im.test(text ?? '')
}

function drainsIn(ended: Ended): string[] {
  const { stages } = reportIn(ended)
  return stages.filter(({ name }) => name === 'intake').flatMap(({ hooks }) => hooks.map(({ name }) => name))
}

function assertCut(ended: Ended, stderr: RegExp): void {
  assertEnded(ended, 124)
  assert.match(ended.stderr, stderr)
  assert.ok(ended.ms > 600 && ended.ms < 1000, `${ended.ms} ms`) // of 750, in any case before SIGKILL
  const { connections, exitCode, stages } = reportIn(ended)
  assert.equal(connections.cut, 1)
  assert.equal(exitCode, 124)
  assert.deepEqual(
    stages[0]?.hooks.map(({ outcome }) => outcome),
    ['cut'],
  )
}
