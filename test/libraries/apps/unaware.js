// Apps that know nothing of pid1, with the peers that would end them well: `node unaware.js terminus`.
import { createServer } from 'node:http'

const hello = (request, response) => {
  setTimeout(() => response.end('hello'), 20)
}
const server = createServer(hello)
const say = (line) => console.log(line)

const peers = {
  terminus: async () => {
    const { createTerminus } = await import('@godaddy/terminus')
    createTerminus(server, { signals: ['SIGTERM'], timeout: 1000, onSignal: async () => say('cleaned up') })
  },
  'http-terminator': async () => {
    const { createHttpTerminator } = await import('http-terminator')
    const terminator = createHttpTerminator({ server })
    process.on('SIGTERM', () => {
      void terminator.terminate().then(() => {
        say('cleaned up')
        process.exit(0)
      })
    })
  },
  'close-with-grace': async () => {
    const { default: closeWithGrace } = await import('close-with-grace')
    closeWithGrace({ delay: 1000 }, async () => {
      await new Promise((resolve) => server.close(resolve))
      say('cleaned up')
    })
  },
}
await peers[process.argv[2]]()
server.listen(0, '127.0.0.1', () => say(`listening ${server.address().port}`))
