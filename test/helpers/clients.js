// Clients that count exactly, in a process of their own: `node clients.js '{"port":1234,"clients":200,"thinkMs":5}'`.
// They use bare sockets, because an agent silently sends a request again. They print `ready` once all are at work (each has
// had its second answer; with new connections: those of half a second had theirs), and at the end one line of JSON. A request is
// *lost* if the kernel had made its connection and it got no complete answer: `sent === answered + lost`. A refused connection
// is not lost, because the client knows that the server has not seen the request.
import { connect as connectTcp } from 'node:net'
import { connect as connectTls } from 'node:tls'

const options = {
  tls: false,
  mode: 'keep-alive', // or 'new': `rate` new connections a second, each with one request
  clients: 200,
  rushing: 0, // the number of further clients, which connect when the others are at work, to overflow the queue of a busy server
  thinkMs: 5,
  rate: 500,
  path: '/',
  host: '127.0.0.1',
  stopAfterMs: undefined, // each client then finishes its request and exits; a line on stdin has the same effect
  maxMs: 20_000, // a request that is not answered by then is lost
  ...JSON.parse(process.argv[2] ?? '{}'),
}
const { port, mode, method = mode === 'new' ? 'POST' : 'GET' } = options

const body = method === 'POST' ? 'a few bytes' : ''
const request = Buffer.from(
  `${method} ${options.path} HTTP/1.1\r\nHost: localhost:${port}\r\n` +
    `${body === '' ? '' : `Content-Length: ${body.length}\r\n`}\r\n${body}`,
)

const dialTimeoutMs = 5000 // a dropped SYN is sent again after 1 and 3 s, and by then it may be refused
const refusalsToBelieve = 25
const counts = {
  sent: 0,
  answered: 0,
  lost: 0,
  lostOnNew: 0, // of these, the first requests of a connection
  resetOnConnect: 0, // of these, those whose connection was reset before anything could be written on it
  refused: 0,
  dialled: 0,
  fastestDialMs: Infinity,
  statuses: {},
  detail: {}, // why requests were lost
}
const waiting = new Set()
const stopping = new AbortController()
const load = { started: 0, refusalsInARow: 0 }

process.stdin.once('data', stop)
if (options.stopAfterMs !== undefined) setTimeout(stop, options.stopAfterMs)
setTimeout(giveUp, options.maxMs)
if (mode === 'new') await dialAtRate()
else await Promise.all([...(await greetAll()).map(keepBusy), ...rush()])
report()

/** Every client gets a first answer before any goes on: among busy clients the last one would wait for seconds to be accepted. */
function greetAll() {
  return Promise.all(
    Array.from({ length: options.clients }, async (_, index) => {
      await wait(index / 2) // all at once would overflow the queue of the server
      const connection = await dial()
      if (connection === undefined) throw new Error('Refused before the first request: there is nothing to count')
      await ask(connection)
      return connection
    }),
  )
}

/** Eight dials a millisecond: about what one process can do, and more than a busy server accepts. */
function rush() {
  return Array.from({ length: options.rushing }, (_, index) => wait(index / 8).then(() => keepBusy()))
}

/** One client: requests on one connection, and on a new one when that is closed, until it is refused. */
async function keepBusy(first) {
  let connection = first
  let isAtWork = false
  for (;;) {
    if (connection !== undefined) await think()
    if (stopping.signal.aborted) return
    connection = connection?.usable ? connection : await dial()
    if (connection === undefined) return
    await ask(connection)
    if (!isAtWork && ++load.started === options.clients) console.log('ready')
    isAtWork = true
  }
}

/** New connections at a fixed rate, until `refusalsToBelieve` in a row were refused: then the server has closed. */
async function dialAtRate() {
  const open = new Set()
  const since = performance.now()
  const askOnce = async () => {
    const connection = await dial()
    load.refusalsInARow = connection === undefined ? load.refusalsInARow + 1 : 0
    if (connection === undefined) return
    await ask(connection)
    connection.socket.end()
    if (++load.started === options.rate / 2) console.log('ready')
  }
  while (!stopping.signal.aborted && load.refusalsInARow < refusalsToBelieve) {
    await wait(1)
    while (counts.dialled < ((performance.now() - since) * options.rate) / 1000) {
      const asking = askOnce().finally(() => open.delete(asking))
      open.add(asking)
    }
  }
  await Promise.all(open)
}

/** A poll phase lies between the timer and the next request, so a FIN that has arrived is seen before the request is sent. */
async function think() {
  await wait(Math.random() * options.thinkMs)
  await new Promise((resolve) => void setImmediate(resolve))
}

function wait(ms) {
  return new Promise((resolve) => void setTimeout(resolve, ms))
}

/** Resolves with the connection, or with undefined if it was refused, reset, or not made in time. */
function dial() {
  counts.dialled++
  const address = { port, host: options.host }
  const since = performance.now()
  const socket = options.tls ? connectTls({ ...address, rejectUnauthorized: false }) : connectTcp(address)
  const connection = {
    socket,
    usable: false,
    over: false,
    made: false,
    text: '',
    asking: false,
    answers: 0,
    onSettled: () => {},
  }
  return new Promise((resolve) => {
    const timer = setTimeout(() => socket.destroy(Object.assign(new Error(), { code: 'ETIMEDOUT' })), dialTimeoutMs)
    socket.setNoDelay(true)
    socket.once('connect', () => {
      clearTimeout(timer)
      counts.fastestDialMs = Math.min(counts.fastestDialMs, performance.now() - since)
      connection.made = true
      begin(connection) // from now on the request for which it has connected may be lost
    })
    socket.once(options.tls ? 'secureConnect' : 'connect', () => {
      connection.usable = true
      resolve(connection)
    })
    socket.on('data', (data) => receive(connection, data))
    socket.on('end', () => finish(connection, 'FIN'))
    socket.on('error', ({ code }) => finish(connection, code))
    socket.on('close', () => {
      clearTimeout(timer)
      finish(connection, 'closed')
      resolve()
    })
  })
}

function ask(connection) {
  if (!connection.asking) begin(connection)
  return new Promise((resolve) => {
    connection.onSettled = resolve
    connection.socket.write(request)
  })
}

function begin(connection) {
  counts.sent++
  connection.asking = true
  connection.text = ''
  waiting.add(connection)
}

/** A request without a reason was answered, one with a reason was lost. */
function settle(connection, reason) {
  connection.asking = false
  waiting.delete(connection)
  if (reason === undefined) {
    counts.answered++
    connection.answers++
  } else {
    counts.lost++
    if (connection.answers === 0) counts.lostOnNew++
    count(counts.detail, reason)
  }
  connection.onSettled()
}

function receive(connection, data) {
  if (!connection.asking) {
    connection.usable = false // an answer without a request announces the close
    return
  }
  connection.text += data.toString('latin1')
  const answer = parse(connection.text)
  if (answer === undefined || !answer.complete) return
  take(connection, answer)
}

function take(connection, { status, close }) {
  count(counts.statuses, status)
  if (close) {
    connection.usable = false
    connection.socket.end()
  }
  settle(connection)
}

/** The connection has ended. If it was never made, the server has not seen the request. */
function finish(connection, reason) {
  if (connection.over) return
  connection.over = true
  connection.usable = false
  if (connection.asking) {
    const answer = parse(connection.text)
    if (reason === 'FIN' && answer?.untilEnd === true) take(connection, answer)
    else settle(connection, reason)
  } else if (!connection.made) {
    if (reason === 'ECONNREFUSED' || reason === 'ETIMEDOUT') counts.refused++
    // A refused connection gives ECONNREFUSED. This one was made, and reset before the client knew of it.
    else if (reason === 'ECONNRESET') loseOnConnect(connection)
    else throw new Error(`The clients themselves failed to dial: ${reason}`)
  }
}

function loseOnConnect(connection) {
  counts.resetOnConnect++
  begin(connection)
  settle(connection, 'ECONNRESET on connect')
}

/** The final answer, as far as it has arrived; undefined until its head is complete. */
function parse(text) {
  const headEnd = text.indexOf('\r\n\r\n')
  if (headEnd === -1) return undefined
  const head = text.slice(0, headEnd).toLowerCase()
  const rest = text.slice(headEnd + 4)
  const status = Number(head.slice(9, 12))
  if (status < 200) return parse(rest)
  const length = /\r\ncontent-length: *(\d+)/.exec(head)?.[1]
  const chunked = /\r\ntransfer-encoding: *chunked/.test(head)
  return {
    status,
    close: /\r\nconnection: *close/.test(head),
    complete: chunked ? hasLastChunk(rest) : length !== undefined && rest.length >= Number(length),
    untilEnd: !chunked && length === undefined,
  }
}

function hasLastChunk(rest) {
  let at = 0
  for (;;) {
    const sizeEnd = rest.indexOf('\r\n', at)
    if (sizeEnd === -1) return false
    const size = Number.parseInt(rest.slice(at, sizeEnd), 16)
    if (size === 0) return rest.indexOf('\r\n\r\n', sizeEnd) !== -1
    at = sizeEnd + 2 + size + 2
  }
}

function count(counters, key) {
  counters[key] = (counters[key] ?? 0) + 1
}

function stop() {
  stopping.abort()
}

function giveUp() {
  for (const connection of waiting) settle(connection, 'not answered in time')
  report()
}

function report() {
  process.stdout.write(`${JSON.stringify(counts)}\n`, () => process.exit(0))
}
