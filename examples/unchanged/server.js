// This app knows nothing of pid1, and closes its database the moment that SIGTERM comes.
import express from 'express'
import { setTimeout as delay } from 'node:timers/promises'

const database = { isOpen: true }
const app = express()

app.get('/', (request, response) => response.send('hello\n'))

app.get('/slow', async (request, response) => {
  await delay(2000)
  if (database.isOpen) response.send('hello\n')
  else response.status(500).send('the database is closed\n')
})

const server = app.listen(process.env.PORT ?? 3000, (error) => {
  if (error) throw error
  console.log(`listening ${server.address().port}`)
})

process.on('SIGTERM', () => void stop())

async function stop() {
  database.isOpen = false
  server.close()
  await delay(100) // await pool.end()
  console.log('database closed')
  process.exit(0)
}
