import { createTerminus } from '@godaddy/terminus'
import { cleanUp, createServer, limitMs, listen } from '../lib/app.js'

const server = createServer()
createTerminus(server, { timeout: limitMs, useExit0: true, onSignal: cleanUp })
listen(server)
