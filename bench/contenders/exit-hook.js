import { asyncExitHook } from 'exit-hook'
import { cleanUp, createServer, limitMs, listen } from '../lib/app.js'

const server = createServer()
asyncExitHook(
  async () => {
    server.close()
    await cleanUp()
  },
  { wait: limitMs },
)
listen(server)
