import { promisify } from 'node:util'
import closeWithGrace from 'close-with-grace'
import { cleanUp, createServer, limitMs, listen } from '../lib/app.js'

const server = createServer()
closeWithGrace({ delay: limitMs }, async () => {
  await promisify(server.close.bind(server))()
  await cleanUp()
})
listen(server)
