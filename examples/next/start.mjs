import { drainOnShutdown, onShutdown, waitUntil } from 'pid1'
import { subscribe } from 'node:diagnostics_channel'
import { Server } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

process.env.NEXT_MANUAL_SIG_HANDLE = 'true' // else Next.js calls process.exit() when the signal comes

// The promises of `after()`: Next.js expects the program that runs it to wait for them.
globalThis[Symbol.for('@next/request-context')] = { get: () => ({ waitUntil }) }

// Next.js makes the server itself, and Node publishes every server that begins to listen on this channel.
subscribe('tracing:net.server.listen:asyncEnd', ({ server }) => {
  if (!(server instanceof Server)) return
  drainOnShutdown(server)
  console.log(`listening ${server.address().port}`)
})

onShutdown('database', async () => {
  await delay(100) // await pool.end()
  console.log('database closed')
})

await import('./server.js')
