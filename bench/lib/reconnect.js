import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'
import { startBalancer, whyNoBalancer } from '../../test/helpers/balancers.ts'
import { freePorts } from '../../test/helpers/ports.ts'
import { startServer } from './processes.js'
import { each, ofRuns, spread, table } from './statistics.js'

const ways = { 'by default': {}, 'spreadMs: 0': { spreadMs: 0 }, 'spreadMs: 5000': { spreadMs: 5000 } }
const clients = 1000
const windowMs = 100

/** One of two WebSocket servers behind HAProxy stops: how many of its clients come to the other one within 100 ms, at most. */
export async function measureReconnect({ pid1, quick, runs = quick ? 1 : 3, say }) {
  const why = whyNoBalancer('haproxy')
  if (why !== undefined) return { results: {}, missing: [why], text: '' }
  const results = Object.fromEntries(Object.keys(ways).map((name) => [name, []]))
  for (let run = 0; run < runs; run++) {
    for (const [name, options] of Object.entries(ways)) {
      const seen = await stopOneOfTwo(options, pid1)
      results[name].push(seen)
      say(`reconnect, run ${run + 1}/${runs}: ${name}: ${JSON.stringify(seen)}`)
    }
  }
  const rows = Object.entries(results).map(([name, seen]) => [
    name,
    spread(each(seen, 'moved')),
    spread(each(seen, 'peak')),
    spread(each(seen, 'stopMs'), (ms) => ms.toFixed(0)),
  ])
  const text = [
    `${clients} WebSockets on two servers behind HAProxy, one of which stops (${ofRuns(runs)}):`,
    table(['', 'clients that came to the other one', `at most within ${windowMs} ms`, 'time to stop, ms'], rows),
  ].join('\n\n')
  return { results, text }
}

async function stopOneOfTwo(options, pid1) {
  const file = fileURLToPath(new URL('reconnect-app.js', import.meta.url))
  const [front, ...ports] = await freePorts(3)
  const [stopping, staying] = await Promise.all(
    ports.map((port) => startServer(file, { pid1, args: [String(port), JSON.stringify(options)] })),
  )
  const balancer = await startBalancer('haproxy', front, ports)
  const load = { isOver: false, sockets: new Set() }
  await Promise.all(Array.from({ length: clients }, () => stayConnected(front, load)))
  await delay(500)
  const { ms, sentAt } = await stopping.stop(30_000)
  await delay(1000)
  load.isOver = true
  for (const socket of load.sockets) socket.terminate()
  const { stdout } = await staying.stop(30_000)
  await balancer.stop()
  const moved = JSON.parse(stdout.trimEnd().split('\n').at(-1)).filter((at) => at >= sentAt)
  const peak = Math.max(...moved.map((from) => moved.filter((at) => at >= from && at < from + windowMs).length))
  return { moved: moved.length, peak, stopMs: ms }
}

/** Connects again as soon as the connection has closed. Resolves when it is connected for the first time. */
function stayConnected(port, load) {
  return new Promise((resolve) => {
    const connect = () => {
      if (load.isOver) return
      const socket = new WebSocket(`ws://127.0.0.1:${port}`)
      load.sockets.add(socket)
      socket.on('open', resolve)
      socket.on('error', () => {})
      socket.on('close', () => {
        load.sockets.delete(socket)
        setTimeout(connect, 5)
      })
    }
    connect()
  })
}
