import { cleanUp, createServer, listen } from '../lib/app.js'

const server = createServer()
process.on('SIGTERM', () => {
  server.close(() => void cleanUp().then(() => process.exit(0)))
})
listen(server)
