import { drainOnShutdown, onShutdown } from 'pid1'
import { cleanUp, createServer, listen } from '../lib/app.js'

// The time limit comes with PID1_GRACE_PERIOD, as it would in a container.
const server = createServer()
drainOnShutdown(server)
onShutdown('clean-up', cleanUp)
listen(server)
