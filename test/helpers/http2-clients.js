// Clients of HTTP/2, in a process of their own: `node http2-clients.js '{"port":1234,"clients":50,"streams":4}'`. Each keeps this
// number of streams open on one session, and connects again after GOAWAY, until it is refused. They print `ready` once each stream
// has had an answer, and at the end one line of JSON. A stream is *lost* if it got no complete answer, unless the server has
// refused it (REFUSED_STREAM) or its number is above that of GOAWAY: such a stream a client may send again elsewhere.
import { once, setMaxListeners } from 'node:events'
import { connect, constants } from 'node:http2'
import { setTimeout as wait } from 'node:timers/promises'

const options = {
  tls: false,
  clients: 50,
  streams: 4,
  thinkMs: 5,
  path: '/',
  host: '127.0.0.1',
  stopAfterMs: undefined, // each client then finishes its streams and exits
  maxMs: 20_000, // a stream that is not answered by then is lost
  ...JSON.parse(process.argv[2] ?? '{}'),
}
const counts = {
  sent: 0,
  answered: 0,
  lost: 0,
  lostOnNew: 0,
  again: 0,
  refused: 0,
  goAways: 0,
  statuses: {},
  detail: {},
}
const address = `${options.tls ? 'https' : 'http'}://${options.host}:${options.port}`
const timeUp = AbortSignal.timeout(options.maxMs)
setMaxListeners(0, timeUp)
let atWork = 0
const stopping = options.stopAfterMs === undefined ? { aborted: false } : AbortSignal.timeout(options.stopAfterMs)

await Promise.all(Array.from({ length: options.clients }, keepBusy))
counts.sent = counts.answered + counts.lost
console.log(JSON.stringify(counts))
process.exit()

async function keepBusy() {
  for (let greeted = false; !timeUp.aborted && !stopping.aborted; greeted = true) {
    const session = connect(address, { rejectUnauthorized: false })
    const heard = { lastId: Infinity, refused: false }
    session.on('goaway', (_code, lastId) => {
      counts.goAways++
      heard.lastId = Math.min(heard.lastId, lastId)
    })
    session.on('error', ({ code }) => (heard.refused = code === 'ECONNREFUSED'))
    const gone = once(session, 'close').catch(() => {})
    await Promise.race([once(session, 'connect').catch(() => {}), gone])
    if (heard.refused) {
      counts.refused++
      return
    }
    await Promise.all(Array.from({ length: options.streams }, () => keepStreaming(session, heard, greeted)))
    session.close()
    await Promise.race([gone, wait(options.maxMs, undefined, { ref: false })])
  }
}

async function keepStreaming(session, heard, greeted) {
  let isFirst = !greeted
  while (!session.closed && !session.destroyed && !timeUp.aborted && !stopping.aborted) {
    await ask(session, heard)
    if (isFirst && ++atWork === options.clients * options.streams) console.log('ready')
    isFirst = false
    await wait(Math.random() * options.thinkMs)
  }
}

async function ask(session, heard) {
  const stream = session.request({ ':path': options.path })
  const answer = { status: undefined, text: '', complete: false }
  stream.setEncoding('utf8')
  stream.on('response', (headers) => (answer.status = headers[':status']))
  stream.on('data', (text) => (answer.text += text))
  stream.on('end', () => (answer.complete = answer.text === 'answered'))
  stream.on('error', () => {})
  await Promise.race([once(stream, 'close').catch(() => {}), once(timeUp, 'abort')])
  if (answer.complete) {
    counts.answered++
    counts.statuses[answer.status] = (counts.statuses[answer.status] ?? 0) + 1
  } else if (
    stream.id === undefined ||
    stream.id > heard.lastId ||
    stream.rstCode === constants.NGHTTP2_REFUSED_STREAM
  ) {
    counts.again++
  } else {
    counts.lost++
    const why = `status ${answer.status}, "${answer.text}", code ${stream.rstCode}, GOAWAY ${heard.lastId}`
    counts.detail[why] = (counts.detail[why] ?? 0) + 1
  }
}
