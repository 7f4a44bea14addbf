import { drainOnShutdown, isShuttingDown, onShutdown } from 'pid1'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { setTimeout as delay } from 'node:timers/promises'

const app = new Hono()

app.get('/', (context) => context.text('hello\n'))

app.get('/slow', async (context) => {
  await delay(2000)
  return context.text('hello\n')
})

app.get('/ready', (context) => context.body(null, isShuttingDown() ? 503 : 200))

const port = Number(process.env.PORT ?? 3000)
const server = serve({ fetch: app.fetch, port }, (address) => console.log(`listening ${address.port}`))
drainOnShutdown(server)

onShutdown('database', async () => {
  await delay(100) // await pool.end()
  console.log('database closed')
})
