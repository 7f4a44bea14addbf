import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { connect as connectTcp } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { dial, requestFor } from './helpers/connection.ts'
import { httpAndHttps, startServer } from './helpers/http-server.ts'
import { inNetwork } from './helpers/network.ts'
import { assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, asPid1, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

for (const [name, tls] of httpAndHttps) {
  asChildAndPid1(`${name}: HEAD is answered without a body, with Connection: close`, async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, tls })
    const connection = await dial(t, port, { tls })
    connection.send(requestFor('/slow?ms=300').replace('GET', 'HEAD'))
    await run.line(/got/)
    run.signal('SIGTERM')
    const { text, how } = await connection.ended
    assert.match(text, /^HTTP\/1\.1 200 [^]*^connection: close\r\n(?:[^]*\r\n)?\r\n$/im)
    assert.doesNotMatch(text, /answered/)
    assert.equal(how, 'FIN')
    assertStoppedWell(await run.ended)
  })

  asChildAndPid1(`${name}: a download is completed`, async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, tls, drain: { lingerMs: 300 } })
    const connection = await dial(t, port, { tls })
    connection.send(requestFor('/download'))
    await run.line(/got/)
    run.signal('SIGTERM')
    await connection.received(/begun, [^]*more, [^]*answered\r\n0\r\n\r\n$/)
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
  })
}

// What the kernel has accepted, the client may not have received: when PID 1 of a container exits, its network ends too.
asChildAndPid1('a slow reader receives the whole answer before the process exits', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1 })
  const bytes = 12 * 2 ** 20
  const reader = connectTcp({ port, host: '127.0.0.1' })
  t.after(() => reader.destroy())
  reader.write(requestFor(`/large?ms=200&bytes=${bytes}`))
  await run.line(/got/)
  run.signal('SIGTERM')
  const left = run.ended.then(() => undelivered(port))
  let read = 0
  for await (const chunk of reader as AsyncIterable<Buffer>) {
    read += chunk.length
    await wait(chunk.length / 10_000) // 10 MB a second
  }
  assert.ok(read > bytes, `${read} of ${bytes} bytes`)
  assert.equal(await left, '')
  assertStoppedWell(await run.ended)
})

asChildAndPid1('a client that reads nothing of its answer does not delay the exit for long', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1, drain: { lingerMs: 500 } })
  const reader = connectTcp({ port, host: '127.0.0.1' }).pause()
  t.after(() => reader.destroy())
  reader.write(requestFor(`/large?ms=0&bytes=${2 ** 20}`))
  await run.line(/got/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { over: 400, under: 2900 })
  assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
})

asPid1(
  'a distant slow reader receives the whole answer, although the network ends with the process',
  inNetwork({ roundTripMs: 40 }, async (t, network) => {
    const run = start(t, 'servers/http.js', {
      pid1: true,
      args: [JSON.stringify({ host: '0.0.0.0' })],
      inside: network.serverSide,
    })
    const port = await run.port()
    const bytes = 5 * 2 ** 20
    const command = [
      process.execPath,
      '-e',
      slowReader,
      network.address,
      String(port),
      requestFor(`/large?ms=0&bytes=${bytes}`),
    ]
    const reader = start(t, '', { command, inside: network.clientSide })
    await run.line(/got/)
    run.signal('SIGTERM')
    assertStoppedWell(await run.ended)
    const [program = '', ...args] = network.serverSide
    const route = ['ip', 'route', 'add', 'blackhole', `${network.clientAddress}/32`]
    assert.equal(spawnSync(program, [...args, ...route]).status, 0)
    const { stdout, stderr } = await reader.ended
    assert.equal(stdout, `${bytes}\n`, stderr)
  }),
)

// Reads about 5 MB a second, and prints the size of the body.
const slowReader = `
  const [host, port, request] = process.argv.slice(1)
  const socket = require('node:net').connect(Number(port), host)
  socket.setTimeout(5000, () => socket.destroy()).write(request)
  void (async () => {
    let bytes = 0, headEnd = 0
    for await (const chunk of socket) {
      if (headEnd === 0) headEnd = chunk.indexOf('\\r\\n\\r\\n') + 4
      bytes += chunk.length
      await require('node:timers/promises').setTimeout(chunk.length / 5000)
    }
    console.log(bytes - headEnd)
  })()`

/** The closed connections of a port with data that is not acknowledged yet. */
function undelivered(port: number): string {
  const { status, stdout, stderr } = spawnSync('ss', ['-Htn', 'state', 'fin-wait-1', `( sport = :${port} )`], {
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
  return stdout
}
