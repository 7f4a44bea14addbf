import { onShutdown } from 'pid1'
import pid1 from 'pid1/fastify'
import Fastify from 'fastify'
import { setTimeout as delay } from 'node:timers/promises'

const app = Fastify()

await app.register(pid1)

app.get('/', () => 'hello\n')

app.get('/slow', async () => {
  await delay(2000)
  return 'hello\n'
})

app.addHook('onClose', () => console.log('app closed'))

onShutdown('database', async () => {
  await delay(100) // await pool.end()
  console.log('database closed')
})

await app.listen({ port: process.env.PORT ?? 3000, host: '0.0.0.0' })
console.log(`listening ${app.server.address().port}`)
