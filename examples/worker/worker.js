import { onShutdown, shutdownSignal } from 'pid1'
import { Queue } from './queue.js'

const queue = new Queue()

// Takes no job after the signal, and completes the one that it has begun.
async function work(stopping) {
  for (;;) {
    const job = await queue.take(stopping)
    if (job === undefined) return
    console.log(`job ${job.id} begins`)
    await job.run()
    await queue.confirm(job)
    console.log(`job ${job.id} done`)
  }
}

const working = work(shutdownSignal())

// Hooks of intake end the supply of work; those of cleanup run when it has ended.
onShutdown('jobs', () => working, { stage: 'intake' })

onShutdown('queue', async () => {
  await queue.close()
  console.log('queue closed')
})
