// What PM2 starts: an app that knows nothing of pid1.
import { createServer } from 'node:http'

const server = createServer((request, response) => {
  setTimeout(() => response.end('hello'), 20)
})
process.on('SIGINT', () => server.close(() => process.exit(0)))
server.listen(Number(process.env.PORT), '127.0.0.1', () => console.log('listening'))
