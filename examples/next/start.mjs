import { drainOnShutdown, onShutdown } from 'pid1'
import { subscribe } from 'node:diagnostics_channel'
import { setTimeout as delay } from 'node:timers/promises'

process.env.NEXT_MANUAL_SIG_HANDLE = 'true' // else Next.js calls process.exit() when the signal comes

// What routes do `after()` their answers: Next.js asks whoever runs it to wait for that.
const pending = new Set()
const waitUntil = (promise) => {
  const forget = () => pending.delete(settled)
  const settled = promise.then(forget, forget)
  pending.add(settled)
}
globalThis[Symbol.for('@next/request-context')] = { get: () => ({ waitUntil }) }

// Next.js makes the server by itself, and Node tells of every one that listens.
subscribe('tracing:net.server.listen:asyncEnd', ({ server }) => {
  drainOnShutdown(server, { afterDrain: () => Promise.all(pending) })
  console.log(`listening ${server.address().port}`)
})

onShutdown('database', async () => {
  await delay(100) // await pool.end()
  console.log('database closed')
})

await import('./server.js')
