import { createLightship } from 'lightship'
import { cleanUp, createServer, limitMs, listen } from '../lib/app.js'

const server = createServer()
const lightship = await createLightship({
  detectKubernetes: false,
  port: 0,
  shutdownDelay: 0,
  gracefulShutdownTimeout: limitMs,
  shutdownHandlerTimeout: limitMs,
})
lightship.registerShutdownHandler(async () => {
  await new Promise((resolve) => server.close(resolve))
  await cleanUp()
})
server.on('listening', () => lightship.signalReady())
listen(server)
