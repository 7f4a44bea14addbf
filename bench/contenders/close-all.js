import { createServer, listen } from '../lib/app.js'

const server = createServer()
process.on('SIGTERM', () => {
  server.close(() => process.exit(0))
  server.closeAllConnections()
})
listen(server)
