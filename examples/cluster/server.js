import { configure, drainOnShutdown, isShuttingDown, onShutdown } from 'pid1'
import cluster from 'node:cluster'
import { createServer } from 'node:http'
import { availableParallelism } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'

if (cluster.isPrimary) startWorkers()
else serve()

function startWorkers() {
  configure({}) // with this call pid1 handles the signals of the primary too
  const workers = availableParallelism()
  for (let n = 0; n < workers; n++) cluster.fork()
  cluster.on('exit', () => {
    if (!isShuttingDown()) cluster.fork()
  })
  let listening = 0
  cluster.on('listening', (worker, { port }) => {
    if (++listening === workers) console.log(`listening ${port}`)
  })
}

function serve() {
  const server = createServer((request, response) => {
    setTimeout(() => response.end('hello\n'), request.url === '/slow' ? 2000 : 0)
  })
  drainOnShutdown(server)

  onShutdown('database', async () => {
    await delay(100) // await pool.end()
    console.log('database closed')
  })

  server.listen(process.env.PORT ?? 3000)
}
