import { drainOnShutdown, onShutdown } from 'pid1'
import { createServer } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { Server } from 'socket.io'

const server = createServer((request, response) => {
  setTimeout(() => response.end('hello\n'), request.url === '/slow' ? 2000 : 0)
})
const io = new Server(server)
io.on('connection', (socket) => {
  socket.on('message', (message, answer) => answer(message))
})
drainOnShutdown(io)

onShutdown('database', async () => {
  await delay(100) // await pool.end()
  console.log('database closed')
})

server.listen(process.env.PORT ?? 3000, () => console.log(`listening ${server.address().port}`))
