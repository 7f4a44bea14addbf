import { promisify } from 'node:util'
import exitHook from 'async-exit-hook'
import { cleanUp, createServer, limitMs, listen } from '../lib/app.js'

const server = createServer()
exitHook.forceExitTimeout(limitMs)
exitHook(async (done) => {
  await promisify(server.close.bind(server))()
  await cleanUp()
  done()
})
listen(server)
