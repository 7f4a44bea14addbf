import { drainOnShutdown, onShutdown, shutdownSignal } from 'pid1'
import { createServer } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

const server = createServer((request, response) => {
  if (request.url === '/events') sendEvents(response)
  else if (request.url === '/news') waitForNews(response)
  else setTimeout(() => response.end('hello\n'), request.url === '/slow' ? 2000 : 0)
})

// An event stream has no end of its own, so it ends when the shutdown begins.
function sendEvents(response) {
  const sayTime = () => response.write(`data: ${new Date().toISOString()}\n\n`)
  const timer = setInterval(sayTime, 1000)
  const stop = () => {
    clearInterval(timer)
    response.end('event: bye\ndata: come again\n\n')
  }
  shutdownSignal().addEventListener('abort', stop)
  response.on('close', () => {
    clearInterval(timer)
    shutdownSignal().removeEventListener('abort', stop)
  })
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  sayTime()
}

// The drain waits for a long poll as for any other request. So the app answers it when the shutdown begins: no news, ask again.
function waitForNews(response) {
  const answer = () => response.writeHead(204).end()
  if (shutdownSignal().aborted) return answer() // it came on a connection that was open
  const timer = setTimeout(answer, 25_000)
  shutdownSignal().addEventListener('abort', answer)
  response.on('close', () => {
    clearTimeout(timer)
    shutdownSignal().removeEventListener('abort', answer)
  })
}

drainOnShutdown(server)

onShutdown('database', async ({ reason }) => {
  console.log(`closing the database: ${reason}`)
  await delay(100) // await pool.end()
  console.log('database closed')
})

onShutdown('logs', () => console.log('logs sent'), { stage: 'flush' })

server.listen(process.env.PORT ?? 3000, () => console.log(`listening ${server.address().port}`))
