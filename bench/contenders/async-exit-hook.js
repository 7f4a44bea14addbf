import exitHook from 'async-exit-hook'
import { cleanUp, createServer, limitMs, listen } from '../lib/app.js'

const server = createServer()
exitHook.forceExitTimeout(limitMs)
exitHook((done) => {
  server.close()
  void cleanUp().finally(() => done())
})
listen(server)
