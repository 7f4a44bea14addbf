import { NodeHttpServer, NodeRuntime } from '@effect/platform-node'
import { Effect, Layer } from 'effect'
import { HttpServer, HttpServerRequest, HttpServerResponse } from 'effect/http'
import { cleanUp, createServer, host, limitMs, port, ready } from '../lib/app.js'

let server
const app = Effect.gen(function* () {
  const request = yield* HttpServerRequest.HttpServerRequest
  if (request.url === '/slow') {
    console.log('slow')
    yield* Effect.sleep('1 second')
  }
  if (request.url === '/block') {
    console.log('blocked')
    for (;;);
  }
  yield* request.text
  return HttpServerResponse.text('answered')
})
const listening = NodeHttpServer.layer(() => (server = createServer(() => {})), {
  port,
  host,
  gracefulShutdownTimeout: limitMs,
})
const atEnd = Layer.effectDiscard(Effect.acquireRelease(Effect.void, () => Effect.promise(cleanUp)))
const said = Layer.effectDiscard(Effect.promise(async () => ready(server)))
const service = HttpServer.serve(app).pipe(Layer.provideMerge(said), Layer.provide(listening), Layer.provide(atEnd))
NodeRuntime.runMain(Layer.launch(service))
