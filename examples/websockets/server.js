import { drainOnShutdown, onShutdown } from 'pid1'
import { createServer } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { WebSocketServer } from 'ws'

const server = createServer((request, response) => {
  setTimeout(() => response.end('hello\n'), request.url === '/slow' ? 2000 : 0)
})
const sockets = new WebSocketServer({ server })
sockets.on('connection', (socket) => {
  socket.on('message', (message) => socket.send(message, { binary: false }))
})
drainOnShutdown(server)

onShutdown('database', async () => {
  await delay(100) // await pool.end()
  console.log('database closed')
})

server.listen(process.env.PORT ?? 3000, () => console.log(`listening ${server.address().port}`))
