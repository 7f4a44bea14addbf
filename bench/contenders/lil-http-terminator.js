import createTerminator from 'lil-http-terminator'
import { cleanUp, createServer, limitMs, listen } from '../lib/app.js'

const server = createServer()
const terminator = createTerminator({ server, gracefulTerminationTimeout: limitMs, maxWaitTimeout: limitMs })
async function stop() {
  await terminator.terminate()
  await cleanUp()
  process.exit(0)
}
process.on('SIGTERM', () => void stop())
listen(server)
