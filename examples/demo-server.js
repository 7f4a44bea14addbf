// The app of `npm run demo`: a slow request, a database to close, logs to send. It is stopped in one of three ways.
import { createServer } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

const server = createServer((request, response) => {
  request.resume()
  if (request.url === '/slow') setTimeout(() => response.end('answered'), 1500)
  else response.end('answered')
})

async function closeDatabase() {
  await delay(150)
  console.log('database closed')
}

async function sendLogs() {
  await delay(40)
  console.log('logs sent')
}

async function cleanUpAndExit() {
  await closeDatabase()
  await sendLogs()
  process.exit(0)
}

const ways = {
  'with pid1': async () => {
    const { configure, drainOnShutdown, onShutdown } = await import('pid1')
    configure({ onReport: (report) => console.log(JSON.stringify(report)) })
    drainOnShutdown(server)
    onShutdown('database', closeDatabase)
    onShutdown('logs', sendLogs, { stage: 'flush' })
  },
  'server.close()': () => {
    process.on('SIGTERM', () => {
      server.close(() => void cleanUpAndExit())
    })
  },
  'no handler': () => {},
}

await ways[process.argv[2]]()
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`))
