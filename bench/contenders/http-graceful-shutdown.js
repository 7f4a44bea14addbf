import gracefulShutdown from 'http-graceful-shutdown'
import { cleanUp, createServer, limitMs, listen } from '../lib/app.js'

const server = createServer()
gracefulShutdown(server, { timeout: limitMs, onShutdown: cleanUp })
listen(server)
