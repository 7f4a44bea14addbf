import { drainOnShutdown, onShutdown } from 'pid1'
import { createServer } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

const words = 'Every request of a stop is answered to its last word .'.split(' ')

const server = createServer((request, response) => {
  const { method, url } = request
  if (url === '/chat' && method === 'POST') return void complete(request, response)
  if (url === '/events') return sendEvents(response)
  setTimeout(() => response.end('hello\n'), url === '/slow' ? 2000 : 0)
})
drainOnShutdown(server)

/** A completion, word by word. It answers a POST, so the stop waits for its end. */
async function complete(request, response) {
  request.resume()
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  for (const word of words) {
    response.write(`data: ${JSON.stringify({ word })}\n\n`)
    await delay(200)
  }
  response.end('data: [DONE]\n\n')
}

/** Events without an end. They answer a GET, so the stop ends them when all else is answered. */
function sendEvents(response) {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  response.write('data: hello\n\n')
  const timer = setInterval(() => response.write(`data: ${Date.now()}\n\n`), 1000)
  response.on('close', () => clearInterval(timer))
}

onShutdown('database', async () => {
  await delay(100) // await pool.end()
  console.log('database closed')
})

server.listen(process.env.PORT ?? 3000, () => console.log(`listening ${server.address().port}`))
