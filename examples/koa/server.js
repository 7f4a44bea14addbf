import { drainOnShutdown, isShuttingDown, onShutdown } from 'pid1'
import Koa from 'koa'
import { setTimeout as delay } from 'node:timers/promises'

const app = new Koa()

app.use(async (context) => {
  if (context.path === '/ready') context.status = isShuttingDown() ? 503 : 200
  if (context.path === '/slow') await delay(2000)
  if (context.path === '/' || context.path === '/slow') context.body = 'hello\n'
})

const server = app.listen(process.env.PORT ?? 3000, () => console.log(`listening ${server.address().port}`))
drainOnShutdown(server)

onShutdown('database', async () => {
  await delay(100) // await pool.end()
  console.log('database closed')
})
