import { drainOnShutdown, type HookContext, onShutdown } from 'pid1'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

const server = createServer((request, response) => {
  setTimeout(() => response.end('hello\n'), request.url === '/slow' ? 2000 : 0)
})
drainOnShutdown(server)

async function closeDatabase({ remainingMs }: HookContext): Promise<void> {
  await delay(Math.min(100, remainingMs())) // await pool.end()
  console.log('database closed')
}
onShutdown('database', closeDatabase)

server.listen(process.env['PORT'] ?? 3000, () => {
  console.log(`listening ${(server.address() as AddressInfo).port}`)
})
