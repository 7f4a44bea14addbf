import { drainOnShutdown, onShutdown } from 'pid1'
import { createServer } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

/** Starts the app on a port. Resolves when it listens. */
export function startApp(port, log = console.log) {
  const server = createServer((request, response) => {
    setTimeout(() => response.end('hello\n'), request.url === '/slow' ? 300 : 0)
  })
  drainOnShutdown(server)
  onShutdown('database', async () => {
    await delay(100) // await pool.end()
    log('database closed')
  })
  return new Promise((resolve) => {
    server.listen(port, () => resolve(server.address().port))
  })
}
