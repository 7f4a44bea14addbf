import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { addConnectionClose } from '../src/servers/connection-close-header.ts'

type Answer = (response: ServerResponse) => unknown

/** What Node's types do not know, or what is wrong. */
const headers = (value: unknown) => value as OutgoingHttpHeaders
const kept = { Connection: 'keep-alive' }
const pairs = (...names: string[]) => headers(names.map((name) => [name, 'a value']))
const later = (answer: () => unknown) => wait(5).then(answer)

const heads: Readonly<Record<string, Answer>> = {
  'an implicit one': (r) => r.end('body'),
  'an implicit one of write': (r) => r.write('bo') && r.end('dy'),
  'an implicit one of write, later': (r) => r.write('bo') && later(() => r.end('dy')),
  flushHeaders: (r) => r.flushHeaders() ?? r.end('body'),
  'without a body': (r) => r.end(),
  'a code': (r) => r.writeHead(404).end('body'),
  'a code that is a string': (r) => r.writeHead('201' as unknown as number).end('body'),
  'a code without a body': (r) => r.writeHead(204).end(),
  'a code without a body, in chunks': (r) => r.writeHead(304, { 'Transfer-Encoding': 'chunked' }).end(),
  'a message': (r) => r.writeHead(200, 'Fine').end('body'),
  'a message that is not set': (r) => r.writeHead(200, undefined, { 'X-A': '1' }).end('body'),
  statusMessage: (r) => Object.assign(r, { statusCode: 202, statusMessage: 'Connection: Taken' }).end('body'),
  'an object': (r) => r.writeHead(200, { 'X-A': '1', ...kept, 'x-b': ['2', '3'], 'X-C': 4 }).end('body'),
  'an object and a message': (r) => r.writeHead(200, 'Fine', { 'Content-Length': 4, ...kept }).end('body'),
  'an object without a prototype': (r) => r.writeHead(200, headers(Object.assign(Object.create(null), kept))).end(),
  'an object that inherits': (r) => r.writeHead(200, headers(Object.create(kept))).end('body'),
  'an empty object': (r) => r.writeHead(200, {}).end('body'),
  null: (r) => r.writeHead(200, headers(null)).end('body'),
  'names of the same meaning': (r) => r.writeHead(200, { ...kept, connection: 'keep-alive', CONNECTION: 'x-a' }).end(),
  'several connections': (r) => r.writeHead(200, { Connection: ['keep-alive', 'x-a'] }).end('body'),
  'an undefined header': (r) => r.writeHead(200, headers({ 'X-A': undefined })).end('body'),
  'an undefined connection': (r) => r.writeHead(200, headers({ Connection: undefined })).end('body'),
  'a header that is null': (r) => r.writeHead(200, headers({ 'X-A': null })).end('body'),
  'a name that is invalid': (r) => r.writeHead(200, { 'X A': '1', ...kept }).end('body'),
  'a value that is invalid': (r) => r.writeHead(200, { ...kept, 'X-A': 'a\nb' }).end('body'),
  'a message that is invalid': (r) => r.writeHead(200, 'a\nb', kept).end('body'),
  'a code that is invalid': (r) => r.writeHead(99, kept).end('body'),
  'a second head': (r) => {
    r.writeHead(200, kept)
    r.writeHead(201)
  },
  'a list': (r) => r.writeHead(200, ['X-A', '1', 'connection', 'keep-alive', 'X-A', '2']).end('body'),
  'a list and a message': (r) => r.writeHead(200, 'Fine', ['X-A', '1', 'Connection', 'keep-alive']).end('body'),
  'a list with an undefined value': (r) => r.writeHead(200, headers(['X-A', undefined])).end('body'),
  'a list with a list of values': (r) => r.writeHead(200, headers(['X-A', ['1', '2']])).end('body'),
  'a list that is odd': (r) => r.writeHead(200, ['X-A', '1', 'Connection']).end('body'),
  'an empty list': (r) => r.writeHead(200, []).end('body'),
  'one pair': (r) => r.writeHead(200, pairs('X-A')).end('body'),
  'two pairs': (r) => r.writeHead(200, pairs('X-A', 'Connection')).end('body'),
  'three pairs': (r) => r.writeHead(200, pairs('X-A', 'X-A', 'Connection')).end('body'),
  'three pairs, later': (r) => later(() => r.writeHead(200, pairs('X-A', 'X-B', 'X-C')).end('body')),
  Headers: (r) => r.writeHead(200, headers(new Headers({ 'X-A': '1', ...kept }))).end('body'),
  'a Map': (r) => r.writeHead(200, headers(new Map([['X-A', '1']]))).end('body'),
  'a Map as pairs': (r) => r.writeHead(200, headers([...new Map([['X-A', '1']])])).end('body'),
  writeHeader: (r) => (r as unknown as { writeHeader: ServerResponse['writeHead'] }).writeHeader(200, kept).end('body'),
  "the prototype's writeHead": (r) => Object.getPrototypeOf(r).writeHead.call(r, 200, kept).end('body'),
  setHeader: (r) => r.setHeader('connection', 'keep-alive').end('body'),
  'setHeader with several': (r) => r.setHeader('Connection', ['keep-alive', 'x-a']).end('body'),
  'setHeader of an undefined value': (r) => r.setHeader('X-A', undefined as unknown as string).end('body'),
  'setHeaders of Headers': (r) => r.setHeaders(new Headers({ 'X-A': '1', ...kept })).end('body'),
  'setHeaders of a Map': (r) => r.setHeaders(new Map([['Connection', 'keep-alive']])).end('body'),
  'setHeaders of an object': (r) => r.setHeaders(headers(kept) as unknown as Headers).end('body'),
  appendHeader: (r) => r.appendHeader('Connection', 'keep-alive').appendHeader('Connection', 'x-a').end('body'),
  removeHeader: (r) => r.setHeader('X-A', '1') && (r.removeHeader('Connection') ?? r.end('body')),
  'removeHeader of all that ends a body': (r) => {
    for (const name of ['Connection', 'Content-Length', 'Transfer-Encoding', 'Date']) r.removeHeader(name)
    r.end('body')
  },
  'shouldKeepAlive set by the app': (r) => Object.assign(r, { shouldKeepAlive: true }).writeHead(200, kept).end('body'),
  'a Connection header that says close': (r) => r.writeHead(200, { Connection: 'close' }).end('body'),
  'a Keep-Alive header': (r) => r.writeHead(200, { ...kept, 'Keep-Alive': 'timeout=9' }).end('body'),
  'without a date': (r) => Object.assign(r, { sendDate: false }).end('body'),
  'a date of its own': (r) => r.writeHead(200, { Date: 'today', ...kept }).end('body'),
  'values that look like a head': (r) =>
    r.writeHead(200, { 'X-A': 'Connection: keep-alive', 'X-Connection': 'a' }).end(),
  'values of Latin 1': (r) => r.writeHead(200, 'Voilà', { 'X-A': 'é\u00a0\u0085', ...kept }).end('ü', 'latin1'),
  writeEarlyHints: (r) => {
    r.writeEarlyHints({ link: '</a.css>; rel=preload', connection: 'keep-alive' })
    r.writeHead(200, kept).end('body')
  },
  'writeContinue and writeProcessing': (r) => {
    r.writeContinue()
    r.writeProcessing()
    r.end('body')
  },
  addTrailers: (r) => {
    r.writeHead(200, { Trailer: 'X-Sum', ...kept }).write('body')
    r.addTrailers({ 'X-Sum': '4' })
    r.end()
  },
  'trailers without chunks': (r) => r.writeHead(200, { Trailer: 'X-Sum', 'Content-Length': 4 }).end('body'),
  'strictContentLength, kept': (r) => strict(r).writeHead(200, { 'Content-Length': 4 }).end('body'),
  'strictContentLength, broken': (r) => strict(r).writeHead(200, { 'Content-Length': 3 }).end('body'),
  'a second try': (r) => {
    assert.throws(() => r.writeHead(200, { ...kept, 'X-A': 'a\nb' }))
    r.writeHead(500, { 'X-A': '1' }).end('body')
  },
}

const strict = (response: ServerResponse) => Object.assign(response, { strictContentLength: true })

const requests = {
  'HTTP/1.1': 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n',
  'HTTP/1.0': 'GET / HTTP/1.0\r\n\r\n',
  'HTTP/1.0 with keep-alive': 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n',
  HEAD: 'HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n',
  'Expect: 100-continue': 'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n',
}

let server: Server
let answer: (request: IncomingMessage, response: ServerResponse) => void
before(async () => {
  server = createServer((request, response) => answer(request, response)).listen(0, '127.0.0.1')
  server.keepAliveTimeout = 5000
  await once(server, 'listening')
})
after(() => void server.close())

for (const [name, head] of Object.entries(heads)) {
  for (const setBefore of [false, true]) {
    void test(`an answer says close, and otherwise is what Node sends: ${name}${setBefore ? ', behind setHeader' : ''}`, async () => {
      const write: Answer = (response) => {
        if (setBefore) response.setHeader('X-Before', ['1', '2']).setHeader('X-A', '0')
        return head(response)
      }
      for (const [kind, request] of Object.entries(requests)) {
        const bare = await askFor(request, write, { ends: true })
        const closes = (isLast: boolean) => (response: ServerResponse) =>
          addConnectionClose(response, { isLast: () => isLast, onHead: () => {}, onLast: () => {} })
        assert.deepEqual(await askFor(request, write, { ends: true, prepare: closes(false) }), bare, kind)
        const said = await askFor(request, write, { ends: false, prepare: closes(true) })
        assert.deepEqual(withoutClose(said), withoutClose(bare), kind)
        if (said.error !== undefined) continue
        const final = said.text.split('\r\n\r\n').findLast((part) => /^HTTP\/1\.1 [2-5]/.test(part)) ?? ''
        assert.equal(final.match(/^connection: /gim)?.length, 1, said.text)
        assert.match(final, /^Connection: close$/m)
      }
    })
  }
}

interface Answered {
  readonly text: string
  readonly error: string | undefined
}

/** The server must end the connection by itself, but where the client ends its side. */
async function askFor(
  request: string,
  write: Answer,
  { ends, prepare = () => {} }: { ends: boolean; prepare?: (response: ServerResponse) => void },
): Promise<Answered> {
  let error: string | undefined
  const finished = new Promise<void>((resolve) => {
    answer = (_request, response) => {
      response.once('close', resolve)
      prepare(response)
      const fails = (reason: unknown) => {
        error ??= String(reason)
        response.destroy()
      }
      response.on('error', fails)
      // With its error at once, as an app's own code has it.
      new Promise((done) => done(write(response))).catch(fails)
    }
  })
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').setEncoding('latin1')
  socket.on('error', () => {})
  const all = text(socket).catch(() => '')
  socket.write(request)
  await finished
  if (ends) socket.end()
  return { text: (await all).replace(/^date: (?!today).*$/gim, 'Date'), error }
}

/** Keep-Alive belongs to `Connection: keep-alive`. */
function withoutClose({ text: head, error }: Answered): object {
  return { error, text: head.replaceAll(/^connection: .*\r\n(keep-alive: timeout=\d\r\n)?/gim, '') }
}
