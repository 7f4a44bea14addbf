import stoppable from 'stoppable'
import { cleanUp, createServer, limitMs, listen } from '../lib/app.js'

const server = stoppable(createServer(), limitMs)
process.on('SIGTERM', () => {
  server.stop(() => void cleanUp().then(() => process.exit(0)))
})
listen(server)
