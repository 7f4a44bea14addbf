import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { drainOnShutdown } from 'pid1'
import { block, record } from './events.js'

const pem = (name) => readFileSync(new URL(`../fixtures/tls/${name}.pem`, import.meta.url))

const makers = {
  http: async () => (await import('node:http')).createServer(answer),
  https: async () => (await import('node:https')).createServer({ key: pem('key'), cert: pem('certificate') }, answer),
  http2: async () => (await import('node:http2')).createServer(answer),
  express: async () => {
    const { default: express } = await import('express')
    const app = express()
    app.use(answer)
    return (await import('node:http')).createServer(app)
  },
  ws: async () => {
    const server = (await import('node:http')).createServer(answer)
    const { WebSocketServer } = await import('ws')
    drainOnShutdown(new WebSocketServer({ server }))
    return server
  },
}

/** Starts all servers, and returns their ports. */
export function listenAll(servers) {
  return Promise.all(
    servers.map(async ({ kind }) => {
      const server = drainOnShutdown(await makers[kind]())
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      return server.address().port
    }),
  )
}

let requests = 0

/** `/?ms=50` takes 50 ms from the end of its request, with `block=50` the loop is blocked meanwhile; `/events` has no end by itself. */
function answer(request, response) {
  void answerInTime(request, response)
}

async function answerInTime(request, response) {
  const url = new URL(request.url, 'http://localhost')
  record('request', { url: request.url })
  if (url.pathname === '/events') {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: hello\n\n')
    return
  }
  try {
    for await (const _ of request); // an upload has all of its time
  } catch {
    return // cut
  }
  const blocksMs = Number(url.searchParams.get('block') ?? 0)
  if (blocksMs > 0) block(`request ${++requests}`, blocksMs)
  const ms = Number(url.searchParams.get('ms') ?? 0)
  if (ms > 0) await wait(ms)
  if (!response.destroyed) response.end('answered')
}
