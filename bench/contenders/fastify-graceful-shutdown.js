import Fastify from 'fastify'
import gracefulShutdown from 'fastify-graceful-shutdown'
import { answer, cleanUp, createServer, host, limitMs, port, serve } from '../lib/app.js'

const app = Fastify({ serverFactory: (handler) => createServer(handler), logger: { level: 'silent' } })
await app.register(gracefulShutdown, { timeout: limitMs })
app.after(() => app.gracefulShutdown(cleanUp))
app.removeAllContentTypeParsers()
app.addContentTypeParser('*', (request, payload, done) => done(null))
app.all('*', (request, reply) => {
  reply.hijack()
  answer(request.raw, reply.raw)
})
await app.listen({ port, host })
await serve(app.server)
