import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  createServer,
  type IncomingHttpHeaders,
} from 'node:http2'
import { test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { configure, drainOnShutdown, shutdown } from 'pid1'
import { dial, requestFor, waitUntilRefused } from './helpers/connection.ts'
import { assertEnded, assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, type Run, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

const largestId = 2 ** 31 - 1

for (const [name, tls] of [
  ['in clear', false],
  ['over TLS', true],
] as const) {
  asChildAndPid1(`HTTP/2 ${name}: streams in flight are answered, and GOAWAY is sent in two steps`, async (t, pid1) => {
    const { run, session } = await startServer(t, pid1, { tls })
    const streams = [ask(session, '/slow?ms=500'), ask(session, '/slow?ms=600')]
    await run.line(/(got[^]*){2}/)
    run.signal('SIGTERM')
    for (const stream of streams) assert.deepEqual(await stream.answered, { status: 200, text: 'answered' })
    await session.closed
    assert.deepEqual(session.goAways.slice(0, 2), [largestId, streams[1]?.id()])
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
  })

  asChildAndPid1(`HTTP/2 ${name}: a stream that arrives after the first GOAWAY is answered`, async (t, pid1) => {
    const { run, session } = await startServer(t, pid1, { tls, drain: { lingerMs: 3000 } })
    assert.equal((await ask(session, '/').answered).status, 200)
    run.signal('SIGTERM')
    await waitUntilRefused(session.port)
    assert.deepEqual(await ask(session, '/slow?ms=300').answered, { status: 200, text: 'answered' })
    await session.closed
    assert.equal(session.goAways[0], largestId)
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 2500 })
  })

  asChildAndPid1(
    `HTTP/2 ${name}: a session that was idle for longer than lingerMs is closed at once`,
    async (t, pid1) => {
      const { run, session } = await startServer(t, pid1, { tls, drain: { lingerMs: 1500 } })
      assert.equal((await ask(session, '/').answered).status, 200)
      await wait(1600)
      run.signal('SIGTERM')
      const ended = await run.ended
      assertStoppedWell(ended)
      assertTook(ended.ms, { under: 1400 })
      assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
    },
  )

  asChildAndPid1(`HTTP/2 ${name}: a session that was opened during the drain gets GOAWAY too`, async (t, pid1) => {
    const { run, port } = await startServer(t, pid1, { tls, drain: { drainDelayMs: 700, lingerMs: 500 } })
    run.signal('SIGTERM')
    const session = await openSession(t, port, tls)
    const stream = ask(session, '/slow?ms=1200')
    assert.deepEqual(await stream.answered, { status: 200, text: 'answered' })
    await session.closed
    assert.deepEqual(session.goAways.slice(0, 2), [largestId, stream.id()])
    assertStoppedWell(await run.ended)
  })

  for (const [type, path] of [
    ['', '/events?ms=0'],
    [' whose type is Text/Event-Stream', '/mixed-case-events?ms=0'],
  ] as const) {
    asChildAndPid1(`HTTP/2 ${name}: an event stream${type} ends cleanly, at once`, async (t, pid1) => {
      const { run, session } = await startServer(t, pid1, { tls })
      const stream = ask(session, path)
      await run.line(/got/)
      await stream.begun
      run.signal('SIGTERM')
      assert.deepEqual(await stream.answered, { status: 200, text: 'data: 1\n\n' })
      const ended = await run.ended
      assertStoppedWell(ended)
      assertTook(ended.ms, { under: 900 })
      assert.deepEqual(reportIn(ended).connections, { drained: 0, ended: 1, cut: 0 })
    })
  }

  asChildAndPid1(`HTTP/2 ${name}: a stream that never ends is cut, with 503 and exit code 124`, async (t, pid1) => {
    const { run, session } = await startServer(t, pid1, { tls, configure: { gracePeriodMs: 1500 } })
    const stream = ask(session, '/never?ms=0')
    await run.line(/got/)
    run.signal('SIGTERM')
    const { headers } = await stream.begun
    assert.deepEqual([headers[':status'], headers['retry-after']], [503, '1'])
    const ended = await run.ended
    assertEnded(ended, 124)
    assert.match(ended.stderr, /^pid1: the server on port \d+ did not answer in time: GET \/never\n$/)
    assert.equal(reportIn(ended).connections.cut, 1)
  })

  asChildAndPid1(
    `HTTP/2 ${name}: whileDraining: 'refuse' refuses new streams, not the streams in flight`,
    async (t, pid1) => {
      const { run, session } = await startServer(t, pid1, { tls, drain: { whileDraining: 'refuse' } })
      const stream = ask(session, '/slow?ms=700')
      await run.line(/got/)
      run.signal('SIGTERM')
      await waitUntilRefused(session.port)
      await assert.rejects(async () => ask(session, '/').answered)
      assert.deepEqual(await stream.answered, { status: 200, text: 'answered' })
      assertStoppedWell(await run.ended)
    },
  )
}

asChildAndPid1('HTTP/2: an answer that takes nearly all the time counts as drained', async (t, pid1) => {
  const options = { configure: { gracePeriodMs: 2500 }, drain: { endlessMs: 1000 } }
  const { run, session } = await startServer(t, pid1, options)
  const stream = ask(session, '/slow?ms=1600')
  await run.line(/got/)
  run.signal('SIGTERM')
  assert.deepEqual(await stream.answered, { status: 200, text: 'answered' })
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
})

asChildAndPid1('HTTP/2: an answer that ends just when the time is up is not counted as cut', async (t, pid1) => {
  // The loop is free again between the end of intake (1400 ms, because a cleanup hook needs the rest) and the watchdog (1875 ms).
  const options = { configure: { gracePeriodMs: 2000 }, blocks: [[200, 1350]], hookMs: 0 }
  const { run, session } = await startServer(t, pid1, options)
  const stream = ask(session, '/two-turns-later?ms=800')
  await run.line(/got/)
  run.signal('SIGTERM')
  assert.deepEqual(await stream.answered, { status: 200, text: 'answered' })
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
})

asChildAndPid1('HTTP/2: an event stream that begins during the drain is ended then', async (t, pid1) => {
  const { run, session } = await startServer(t, pid1, {})
  const stream = ask(session, '/late-events?ms=400')
  await run.line(/got/)
  run.signal('SIGTERM')
  assert.deepEqual(await stream.answered, { status: 200, text: 'data: 1\n\n' })
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 1500 })
  assert.deepEqual(reportIn(ended).connections, { drained: 0, ended: 1, cut: 0 })
})

asChildAndPid1('HTTP/2: an event stream that answers a POST has an end', async (t, pid1) => {
  const { run, session } = await startServer(t, pid1, {})
  const stream = ask(session, '/completion', 'POST')
  await run.line(/got/)
  run.signal('SIGTERM')
  assert.match((await stream.answered).text, /^data: 1\n[^]*data: 6\n[^]*data: done\n\n$/)
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
})

asChildAndPid1('HTTP/2: an event stream that answers a POST, and is cut, does not end cleanly', async (t, pid1) => {
  const { run, session } = await startServer(t, pid1, { configure: { gracePeriodMs: 1000 } })
  const stream = ask(session, '/events?ms=0', 'POST')
  await stream.begun
  run.signal('SIGTERM')
  await assert.rejects(stream.answered, /^Error: No whole answer/)
  assertEnded(await run.ended, 124)
})

asChildAndPid1(
  'HTTP/2: a stream that isEndless names is ended, with 503 if its answer has not begun',
  async (t, pid1) => {
    const { run, session } = await startServer(t, pid1, { endless: { '/never': true, '/completion': false } })
    const poll = ask(session, '/never?ms=0')
    const completion = ask(session, '/completion')
    await run.line(/(got[^]*){2}/)
    run.signal('SIGTERM')
    assert.match((await completion.answered).text, /data: done\n\n$/)
    assert.deepEqual(await poll.answered, { status: 503, text: '' })
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.deepEqual(reportIn(ended).connections, { drained: 0, ended: 1, cut: 0 })
  },
)

void test('HTTP/2: in a test, with exit: false, a server that was drained may be closed again, once or twice', async () => {
  configure({ exit: false })
  const server = drainOnShutdown(createServer())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  await shutdown()
  const close = () => new Promise((resolve) => void server.close(resolve))
  assert.deepEqual([await close(), await close()], [undefined, undefined])
})

asChildAndPid1('HTTP/2: an app that uses the streams themselves is drained', async (t, pid1) => {
  const { run, session } = await startServer(t, pid1, { streams: true })
  const stream = ask(session, '/stream')
  await run.line(/got/)
  run.signal('SIGTERM')
  assert.deepEqual(await stream.answered, { status: 200, text: 'answered' })
  await session.closed
  assertStoppedWell(await run.ended)
})

asChildAndPid1('HTTP/2: an unresponsive client does not delay the stop', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, {})
  const connection = await dial(t, port, { stays: true })
  connection.send('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0') // and its SETTINGS, but no answer to any PING
  await connection.received(/[^]/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 2900 })
  assert.equal(reportIn(ended).connections.cut, 0)
})

asChildAndPid1('HTTP/2: the only client does not delay the stop when it never closes its side', async (t, pid1) => {
  const run = start(t, 'servers/http2.js', { pid1, args: ['{}'] })
  const connection = await dial(t, await run.port(), { stays: true })
  connection.send('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0')
  await connection.received(/[^]/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 2900 })
  assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
})

asChildAndPid1('HTTP/2: a TLS handshake that stops half-way does not delay the stop', async (t, pid1) => {
  const { run, port } = await startServer(t, pid1, { tls: true })
  const connection = await dial(t, port)
  connection.send('\u0016\u0003\u0001\u0002\0') // the head of a ClientHello
  const { answered } = ask(await openSession(t, port, true), '/')
  await answered // by then it has read the half one too
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 2900 })
})

asChildAndPid1(
  'HTTP/2 with allowHTTP1: clients of both protocols are answered, with GOAWAY or Connection: close',
  async (t, pid1) => {
    const { run, session } = await startServer(t, pid1, { tls: true, allowHTTP1: true })
    const old = await dial(t, session.port, { tls: true })
    old.send(requestFor('/slow?ms=500'))
    const stream = ask(session, '/slow?ms=500')
    await run.line(/(got[^]*){2}/)
    run.signal('SIGTERM')
    assert.deepEqual(await stream.answered, { status: 200, text: 'answered' })
    const { text, how } = await old.ended
    assert.match(text, /^HTTP\/1\.1 200 [^]*^connection: close\r$[^]*answered/im)
    assert.equal(how, 'FIN')
    await session.closed
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.deepEqual(reportIn(ended).connections, { drained: 2, ended: 0, cut: 0 })
  },
)

interface Session {
  readonly port: number
  readonly client: ClientHttp2Session
  /** The largest numbers of streams that the server has named, in their order. */
  readonly goAways: number[]
  readonly closed: Promise<unknown>
}

interface Stream {
  id(): number | undefined
  readonly begun: Promise<{ headers: IncomingHttpHeaders & { ':status'?: number } }>
  /** Rejects when the stream ends without a whole answer. */
  readonly answered: Promise<{ status: number | undefined; text: string }>
}

async function startServer(
  t: TestContext,
  pid1: boolean,
  options: { tls?: boolean; [name: string]: unknown },
): Promise<{ run: Run; port: number; session: Session }> {
  const run = start(t, 'servers/http2.js', { pid1, args: [JSON.stringify(options)] })
  const port = await run.port()
  return { run, port, session: await openSession(t, port, options.tls === true) }
}

async function openSession(t: TestContext, port: number, tls: boolean): Promise<Session> {
  const client = connect(`${tls ? 'https' : 'http'}://127.0.0.1:${port}`, { rejectUnauthorized: false })
  t.after(() => client.destroy())
  const goAways: number[] = []
  client.on('goaway', (_code, lastId) => void goAways.push(lastId))
  client.on('error', () => {}) // told by the streams
  const closed = once(client, 'close')
  await once(client, 'connect')
  return { port, client, goAways, closed }
}

function ask({ client }: Session, path: string, method = 'GET'): Stream {
  const stream = client.request({ ':path': path, ':method': method })
  stream.on('error', () => {}) // told by `answered`
  const begun = new Promise<{ headers: IncomingHttpHeaders }>((resolve, reject) => {
    stream.once('response', (headers) => resolve({ headers }))
    stream.once('close', () => reject(new Error(`The stream ended without an answer: ${stream.rstCode}`)))
  })
  begun.catch(() => {})
  const answered = answerOf(stream)
  answered.catch(() => {})
  return { id: () => stream.id, begun, answered }
}

async function answerOf(stream: ClientHttp2Stream): Promise<{ status: number | undefined; text: string }> {
  const answer = { status: undefined as number | undefined, text: '', isWhole: false }
  stream.setEncoding('utf8')
  stream.on('response', (headers) => (answer.status = headers[':status']))
  stream.on('data', (text: string) => (answer.text += text))
  stream.on('end', () => (answer.isWhole = stream.rstCode === 0))
  await new Promise((resolve) => void stream.once('close', resolve))
  const { status, text, isWhole } = answer
  if (!isWhole || status === undefined) throw new Error(`No whole answer: ${JSON.stringify(answer)}, ${stream.rstCode}`)
  return { status, text }
}
