import { connect, createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startServer } from './processes.js'
import { each, inSeconds, ofRuns, spread, table } from './statistics.js'

const ways = { pid1: 'pid1', 'by hand': 'server.close() after the delay, process.exit() 2 s later' }
const clients = 500
const delayMs = 5000
// So long after the signal the balancer still sends new connections to the instance that stops.
const noticesAfterMs = 3000
// How long each client pauses between two requests.
const pauseMs = { least: 300, most: 700 }

/** A drain delay behind a balancer that notices late: the requests that still reach the instance in the last second of the delay. */
export async function measureDelay({ pid1, quick, runs = quick ? 1 : 3, say }) {
  const results = Object.fromEntries(Object.keys(ways).map((name) => [name, []]))
  for (let run = 0; run < runs; run++) {
    for (const name of Object.keys(ways)) {
      const seen = await stopBehind(name, pid1)
      results[name].push(seen)
      say(`delay, run ${run + 1}/${runs}: ${name}: ${JSON.stringify(seen)}`)
    }
  }
  const row = ([name, seen]) => [
    ways[name],
    spread(each(seen, 'lost')),
    spread(each(seen, 'firstSecond')),
    spread(each(seen, 'lastSecond')),
    spread(each(seen, 'afterDelayMs'), inSeconds),
  ]
  const header = [
    '',
    'requests lost',
    'requests in the first second',
    'in the last second of the delay',
    'from its end to the exit, s',
  ]
  const text = [
    `A delay of ${delayMs / 1000} s, ${clients} kept connections, a balancer that notices after ${noticesAfterMs / 1000} s (${ofRuns(runs)}):`,
    table(header, Object.entries(results).map(row)),
  ].join('\n\n')
  return { results, text }
}

async function stopBehind(name, pid1) {
  const file = fileURLToPath(new URL('delay-app.js', import.meta.url))
  const [stopping, other] = [
    await startServer(file, { pid1, args: [name, String(delayMs)] }),
    await startServer(file, { pid1: false, args: ['pid1', '0'] }),
  ]
  const balancer = await startLateBalancer([stopping.port, other.port])
  const load = startClients(balancer.port)
  await load.ready
  await delay(1000)
  setTimeout(() => balancer.useOnly(other.port), noticesAfterMs)
  const { ms, stdout, killed } = await stopping.stop(30_000)
  const lost = await load.stop()
  balancer.stop()
  await other.stop(30_000)
  const arrivals = JSON.parse(stdout.trimEnd().split('\n').at(-1))
  const between = (from, to) => arrivals.filter((at) => at >= from && at < to).length
  return {
    lost,
    killed,
    firstSecond: between(0, 1000),
    lastSecond: between(delayMs - 1000, delayMs),
    afterDelayMs: ms - delayMs,
  }
}

/** Passes connections on, in turn. It does not look into them, so a kept connection stays where it is. */
async function startLateBalancer(ports) {
  let targets = ports
  let next = 0
  const sockets = new Set()
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (front) => {
    const back = connect({
      port: targets[next++ % targets.length],
      host: '127.0.0.1',
      allowHalfOpen: true,
      noDelay: true,
    })
    for (const [socket, peer] of [
      [front, back],
      [back, front],
    ]) {
      sockets.add(socket)
      socket.on('error', () => peer.destroy())
      socket.on('close', () => sockets.delete(socket))
      socket.pipe(peer)
    }
  })
  await new Promise((resolve) => void server.listen(0, '127.0.0.1', 4096, resolve))
  return {
    port: server.address().port,
    useOnly: (port) => void (targets = [port]),
    stop: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** Keep-alive clients. A request is lost if it was written on an open connection and has no answer. */
function startClients(port) {
  const load = { lost: 0, isOver: false, answered: 0 }
  const working = Array.from({ length: clients }, () => work(port, load))
  return {
    ready: (async () => {
      while (load.answered < 2 * clients) await delay(50)
    })(),
    stop: async () => {
      load.isOver = true
      await Promise.all(working)
      return load.lost
    },
  }
}

async function work(port, load) {
  let connection
  while (!load.isOver) {
    connection ??= await open(port)
    const answer = await ask(connection)
    if (answer === undefined) load.lost++
    else load.answered++
    if (answer === undefined || /^connection: close/im.test(answer)) connection = undefined
    await delay(pauseMs.least + Math.random() * (pauseMs.most - pauseMs.least))
    if (connection?.isOver) connection = undefined
  }
  connection?.socket.destroy()
}

function open(port) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => resolve(connection))
    const connection = { socket, isOver: false, heard: () => {} }
    let text = ''
    socket.on('data', (data) => {
      text += String(data)
      if (!text.endsWith('hello\n')) return
      connection.heard(text)
      text = ''
    })
    const end = (error) => {
      connection.isOver = true
      connection.heard(undefined)
      reject(error)
    }
    socket.on('error', end)
    socket.on('end', end)
    socket.on('close', end)
  })
}

function ask(connection) {
  return new Promise((resolve) => {
    connection.heard = resolve
    if (connection.isOver) resolve(undefined)
    else connection.socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  })
}
