import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type ClientHttp2Session, connect } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test, type TestContext } from 'node:test'
import { WebSocket } from 'ws'
import { dial, requestFor } from './helpers/connection.ts'
import { startClients } from './helpers/load.ts'
import { reportIn } from './helpers/report.ts'
import { type Ended, type Run, start } from './helpers/run.ts'
import { type Change, fixturesWithout } from './helpers/without.ts'

// The package is built once for every private field that it uses, each time with another name in place of that field, which Node
// (or ws) does not have. A drain under load must then lose what the field's comment says, and nothing more.

interface Field extends Change {
  readonly what: string
  readonly loss: Partial<Seen & SeenOfHttp2>
  readonly options?: object
}

interface Seen {
  /** Requests of 30 busy clients. */
  readonly lost: number
  /** A request that takes longer than the linger. */
  readonly slow: 'answered' | 'lost'
  /** Whether an app's own `Connection: keep-alive` gives way. */
  readonly told: boolean
  readonly events: 'ended' | 'cut'
  readonly webSocket: number
  readonly ended: number
  readonly code: number
}

const nothingLost: Seen = { lost: 0, slow: 'answered', told: true, events: 'ended', webSocket: 1001, ended: 2, code: 0 }

const fields: readonly Field[] = [
  field('changing anything', 'watch-requests', '_httpMessage: response', '_httpMessage: response', {}),
  field('response._send', 'connection-close-header', '_send: send', '_gone: send', { told: false }),
  field('response._header', 'connection-close-header', '_header: head', '_gone: head', { told: false }),
  field('response._headerSent', 'connection-close-header', '_headerSent', '_gone', {}),
  field('response._last', 'connection-close-header', 'answer._last', 'answer._gone', {}),
  field('response.outputData', 'connection-close-header', 'outputData }', 'gone: outputData }', {}),
  field('response._storeHeader', 'connection-close-header', '_storeHeader: storeHeader', '_gone: storeHeader', {}),
  field('response._header of an event stream', 'long-lived', '_header: head', '_gone: head', {
    events: 'cut',
    ended: 1,
    code: 124,
  }),
  field('socket._httpMessage', 'watch-requests', '_httpMessage: response', '_gone: response', unknownBefore()),
  field('socket.parser.incoming', 'watch-requests', 'parser.incoming', 'parser.gone', {}),
  field(
    'socket.parser',
    'watch-requests',
    'parser } = connection.socket',
    'gone: parser } = connection.socket',
    unknownBefore(),
  ),
  field('socket.parser, null', 'connection', 'socket.parser === null', 'socket.gone === null', {
    webSocket: 1006,
    ended: 1,
  }),
  field('server[kConnections]', 'connections', 'http.server.connections', 'gone', {}),
  field('_handle.fd of sockets and servers', 'private-fields', '._handle?.fd', '._gone?.fd', {}),
  field('server._handle.listen', 'stop-listening', '?.listen?.', '?.gone?.', {}),
  field('server._connectionKey', 'stop-listening', 'server._connectionKey', 'server._gone', {}),
  field("ws's _server", 'websockets', 'server._server', 'server._gone', {}),
  {
    ...field("ws's _socket", 'websockets', 'client._socket', 'client._gone', {}),
    options: { way: 'noServer' },
  },
  { ...field('TLSSocket._parent', 'connections', '_parent: raw', '_gone: raw', {}), options: { tls: true } },
]

interface SeenOfHttp2 {
  readonly slow: 'answered' | 'lost'
  readonly events: 'ended' | 'cut'
  readonly posted: 'ended' | 'cut'
  readonly stderr: string
  readonly code: number
}

const nothingLostOfHttp2: SeenOfHttp2 = {
  slow: 'answered',
  events: 'ended',
  posted: 'cut',
  stderr: 'did not answer in time: POST /events',
  code: 124,
}

const fieldsOfHttp2: readonly Field[] = [
  field('changing anything', 'http2-streams', 'stream, "request"', 'stream, "request"', {}),
  field('session[kState]', 'http2-streams', 'session, "state"', 'session, "gone"', {
    events: 'cut',
    stderr: '',
    code: 0,
  }),
  field('stream[kRequest]', 'http2-streams', 'stream, "request"', 'stream, "gone"', {
    posted: 'ended',
    stderr: '',
    code: 0,
  }),
  { ...field('TLSSocket._parent of HTTP/2', 'http2-goaway', '_parent: raw', '_gone: raw', {}), options: { tls: true } },
]

let folder: string
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'private-'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

// They wait for most of their time.
void describe('private fields', { concurrency: 2 }, () => {
  for (const { what, loss, options, ...change } of fields) {
    void test(`a drain without ${what} loses what its comment says, and no more`, async (t) => {
      const tls = options !== undefined && 'tls' in options
      const all = { way: 'server', handedOver: true, configure: { lingerMs: 300, gracePeriodMs: 3000 }, ...options }
      const run = startWithout(t, change, 'servers/websocket.js', all)
      const port = await run.port()
      const clients = tls ? undefined : await startClients(t, port, { clients: 30, thinkMs: 5 })
      const [slow, own, events] = await Promise.all([1, 2, 3].map(() => dial(t, port, { tls })))
      assert.ok(slow && own && events)
      slow.send(requestFor('/slow?ms=900'))
      own.send(requestFor('/set-header?ms=600'))
      events.send(requestFor('/raw-events?ms=0'))
      await run.line(/(got[^]*){3}/)
      const socket = new WebSocket(`${tls ? 'wss' : 'ws'}://127.0.0.1:${port}/socket`, { rejectUnauthorized: false })
      t.after(() => socket.terminate())
      await once(socket, 'open')
      const closed = once(socket, 'close')
      run.signal('SIGTERM')
      const ended = await run.ended
      const seen: Seen = {
        lost: clients === undefined ? 0 : await clients.counted.then(({ lost, lostOnNew }) => lost - lostOnNew),
        slow: (await slow.ended).text.endsWith('answered') ? 'answered' : 'lost',
        told: /^connection: close\r$/im.test((await own.ended).text),
        events: (await events.ended).text.endsWith('\r\n0\r\n\r\n') ? 'ended' : 'cut',
        webSocket: Number((await closed)[0]),
        ended: reportIn(ended).connections.ended,
        code: ended.code ?? NaN,
      }
      // What holds the stage holds WebSockets, too.
      const { webSocket, ...others } = seen
      const { webSocket: wanted, ...expected } = { ...nothingLost, ...loss }
      assert.deepEqual(others, expected, ended.stderr)
      if (seen.code === 0) assert.equal(webSocket, wanted)
      assertSaysOnly(ended, seen.code === 0 ? '' : 'did not answer in time: GET /raw-events')
    })
  }

  for (const { what, loss, options = {}, ...change } of fieldsOfHttp2) {
    void test(`a drain of HTTP/2 without ${what} loses what its comment says, and no more`, async (t) => {
      const all = { configure: { lingerMs: 300, gracePeriodMs: 3000 }, ...options }
      const run = startWithout(t, change, 'servers/http2.js', all)
      const url = `${'tls' in options ? 'https' : 'http'}://127.0.0.1:${await run.port()}`
      const session = connect(url, { rejectUnauthorized: false }).on('error', () => {})
      t.after(() => session.destroy())
      const slow = ask(session, 'GET', '/slow?ms=900')
      const events = ask(session, 'GET', '/events?ms=0')
      const posted = ask(session, 'POST', '/events?ms=0')
      await run.line(/(got[^]*){3}/)
      run.signal('SIGTERM')
      const ended = await run.ended
      const seen: SeenOfHttp2 = {
        slow: (await slow) ? 'answered' : 'lost',
        events: (await events) ? 'ended' : 'cut',
        posted: (await posted) ? 'ended' : 'cut',
        stderr: /did not [^\n]*/.exec(ended.stderr)?.[0] ?? '',
        code: ended.code ?? NaN,
      }
      assert.deepEqual(seen, { ...nothingLostOfHttp2, ...loss }, ended.stderr)
      assertSaysOnly(ended, seen.stderr)
    })
  }
})

function field(what: string, file: string, code: string, instead: string, loss: Field['loss']): Field {
  return { what, file, code, instead, loss }
}

/** What began before the drain is neither told nor waited for. */
function unknownBefore(): Field['loss'] {
  return { slow: 'lost', told: false, events: 'cut', ended: 1 }
}

/** A fixture with a copy of the package in which the code of a file is changed. */
function startWithout(t: TestContext, change: Change, fixture: string, options: object): Run {
  const file = join(fixturesWithout(folder, change), fixture)
  return start(t, fixture, { command: [process.execPath, file, JSON.stringify(options)] })
}

/** Whether the answer came whole. */
async function ask(session: ClientHttp2Session, method: string, path: string): Promise<boolean> {
  const stream = session.request({ ':method': method, ':path': path })
  stream.on('error', () => {}).resume()
  let isWhole = false
  stream.on('end', () => (isWhole = stream.rstCode === 0))
  await once(stream, 'close')
  return isWhole
}

function assertSaysOnly({ stderr }: Ended, what: string): void {
  assert.match(stderr, what === '' ? /^$/ : new RegExp(`^pid1: the server on port \\d+ ${what}\\n$`))
}
