import { NodeHttpServer, NodeRuntime } from '@effect/platform-node'
import { Effect, Layer } from 'effect'
import { HttpServer, HttpServerRequest, HttpServerResponse } from 'effect/http'
import { cleanUp, createServer, hinder, host, limitMs, port, ready } from '../lib/app.js'

let server
const app = Effect.gen(function* () {
  const request = yield* HttpServerRequest.HttpServerRequest
  if (request.headers.upgrade === 'websocket') return yield* talk(request)
  hinder(request.url)
  if (request.url === '/slow') {
    console.log('slow')
    yield* Effect.sleep('1 second')
  }
  yield* request.text
  return HttpServerResponse.text('answered')
})

/** It takes upgrades itself, and reads until the other side has gone. */
const talk = (request) =>
  Effect.gen(function* () {
    const socket = yield* request.upgrade
    const { pull } = yield* socket.reader
    console.log('upgraded')
    yield* Effect.forever(pull)
  }).pipe(
    Effect.scoped,
    Effect.catchTag('SocketError', () => Effect.succeed(HttpServerResponse.empty())),
  )

const listening = NodeHttpServer.layer(() => (server = createServer(() => {})), {
  port,
  host,
  gracefulShutdownTimeout: limitMs,
})
const atEnd = Layer.effectDiscard(Effect.acquireRelease(Effect.void, () => Effect.promise(cleanUp)))
const said = Layer.effectDiscard(Effect.sync(() => ready(server)))
const service = HttpServer.serve(app).pipe(Layer.provideMerge(said), Layer.provide(listening), Layer.provide(atEnd))
NodeRuntime.runMain(Layer.launch(service))
