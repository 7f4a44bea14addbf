import { onShutdown } from 'pid1'
import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'bullmq'

const connection = process.env.REDIS_SOCKET
  ? { path: process.env.REDIS_SOCKET }
  : { host: process.env.REDIS_HOST ?? '127.0.0.1' }

const worker = new Worker(
  'mails',
  async ({ id }) => {
    console.log(`job ${id} begins`)
    await delay(1500) // await mail.send(…)
    console.log(`job ${id} done`)
  },
  { connection },
)
worker.on('error', (error) => console.error(error.message))

// `close()` takes no more jobs, and waits for those in hand.
onShutdown('mails', () => worker.close(), { stage: 'intake' })

onShutdown('database', async () => {
  await delay(100) // await pool.end()
  console.log('database closed')
})

await worker.waitUntilReady()
console.log('ready')
