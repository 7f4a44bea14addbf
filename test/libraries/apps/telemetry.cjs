// Started with `--require @opentelemetry/auto-instrumentations-node/register`, which instruments CommonJS.
const { createServer } = require('node:http')
const { configure, drainOnShutdown } = require('../../../dist/index.js')

configure(JSON.parse(process.argv[2] ?? '{}'))
const server = createServer((_request, response) => {
  console.log('got')
  setTimeout(() => response.end('answered'), 600)
})
drainOnShutdown(server)
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`))
