import { drainOnShutdown, isShuttingDown, onShutdown } from 'pid1'
import express from 'express'
import { setTimeout as delay } from 'node:timers/promises'

const app = express()

app.get('/', (request, response) => response.send('hello\n'))

app.get('/slow', (request, response, next) => {
  delay(2000).then(() => response.send('hello\n'), next)
})

app.get('/ready', (request, response) => response.sendStatus(isShuttingDown() ? 503 : 200))

const server = app.listen(process.env.PORT ?? 3000, () => console.log(`listening ${server.address().port}`))
drainOnShutdown(server)

onShutdown('database', async () => {
  await delay(100) // await pool.end()
  console.log('database closed')
})
