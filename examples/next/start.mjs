import { drainOnShutdown, onShutdown } from 'pid1'
import { subscribe } from 'node:diagnostics_channel'
import { setTimeout as delay } from 'node:timers/promises'

process.env.NEXT_MANUAL_SIG_HANDLE = 'true' // else Next.js calls process.exit() when the signal comes

// Next.js makes the server by itself, and Node tells of every one that listens.
subscribe('tracing:net.server.listen:asyncEnd', ({ server }) => {
  drainOnShutdown(server)
  console.log(`listening ${server.address().port}`)
})

onShutdown('database', async () => {
  await delay(100) // await pool.end()
  console.log('database closed')
})

await import('./server.js')
