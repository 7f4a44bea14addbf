import { drainOnShutdown, onShutdown, shutdownSignal } from 'pid1'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { HealthImplementation } from 'grpc-health-check'

const definition = loadSync(fileURLToPath(new URL('greeter.proto', import.meta.url)))
const server = new grpc.Server()

server.addService(definition['example.Greeter'], {
  greet({ request }, callback) {
    setTimeout(() => callback(null, { text: `hello ${request.name}` }), request.slow ? 2000 : 0)
  },
  // A stream without an end of its own ends when the shutdown begins.
  watch(call) {
    call.write({ text: `hello ${call.request.name}` })
    const timer = setInterval(() => call.write({ text: 'still here' }), 1000)
    const end = () => {
      call.write({ text: 'bye' })
      call.end()
    }
    shutdownSignal().addEventListener('abort', end)
    call.on('close', () => {
      clearInterval(timer)
      shutdownSignal().removeEventListener('abort', end)
    })
  },
})
new HealthImplementation({ '': 'SERVING' }).addToServer(server)
drainOnShutdown(server)

onShutdown('database', async () => {
  await delay(100) // await pool.end()
  console.log('database closed')
})

const address = `0.0.0.0:${process.env.PORT ?? 50051}`
server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error
  console.log(`listening ${port}`)
})
