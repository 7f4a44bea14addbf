import { promisify } from 'node:util'
import { asyncExitHook } from 'exit-hook'
import { cleanUp, createServer, limitMs, listen } from '../lib/app.js'

const server = createServer()
asyncExitHook(
  async () => {
    await promisify(server.close.bind(server))()
    await cleanUp()
  },
  { wait: limitMs },
)
listen(server)
