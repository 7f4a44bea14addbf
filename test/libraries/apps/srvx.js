// srvx closes its server when it hears SIGTERM, and then exits.
import { subscribe } from 'node:diagnostics_channel'
import { serve } from 'srvx'
import { configure, drainOnShutdown, onShutdown } from '../../../dist/index.js'

configure(JSON.parse(process.argv[2] ?? '{}'))
subscribe('tracing:net.server.listen:asyncEnd', ({ server }) => {
  drainOnShutdown(server)
  console.log(`listening ${server.address().port}`)
})
onShutdown('hook', () => console.log('hook'))
serve({
  port: 0,
  hostname: '127.0.0.1',
  gracefulShutdown: { gracefulTimeout: 0.3, forceTimeout: 0.3 },
  async fetch() {
    console.log('got')
    await new Promise((resolve) => void setTimeout(resolve, 1200))
    return new Response('answered')
  },
})
