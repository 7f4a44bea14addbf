// A server that goes on accepting for some seconds after the signal: with pid1, or by hand. At its exit it prints when requests came.
import { configure, drainOnShutdown } from 'pid1'
import { createServer } from 'node:http'

const [how, delayMs] = [process.argv[2], Number(process.argv[3])]
const arrivals = []
let signalAt = Infinity
const server = createServer((_request, response) => {
  if (signalAt !== Infinity) arrivals.push(Math.round(performance.now() - signalAt))
  setTimeout(() => response.end('hello\n'), 2)
})
if (how === 'pid1') {
  configure({ gracePeriodMs: 30_000, drainDelayMs: delayMs })
  drainOnShutdown(server)
} else {
  process.on('SIGTERM', () => setTimeout(close, delayMs))
}
process.on('SIGTERM', () => (signalAt = performance.now()))
process.on('exit', () => console.log(JSON.stringify(arrivals)))
server.listen(0, '127.0.0.1', 4096, () => console.log(`listening ${server.address().port}`))

/** Clients that keep their connections busy would hold the server for ever. */
function close() {
  server.close(() => process.exit(0))
  setTimeout(() => process.exit(0), 2000)
}
