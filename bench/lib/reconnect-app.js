// A WebSocket server. At its exit it prints when each connection was made, in milliseconds since the epoch.
import { configure, drainOnShutdown } from 'pid1'
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'

const madeAt = []
const server = createServer((_request, response) => response.end('hello\n'))
new WebSocketServer({ server }).on('connection', () => madeAt.push(Date.now()))
configure({ gracePeriodMs: 30_000, ...JSON.parse(process.argv[3]) })
drainOnShutdown(server)
process.on('exit', () => console.log(JSON.stringify(madeAt)))
server.listen(Number(process.argv[2]), '127.0.0.1', 4096, () => console.log(`listening ${server.address().port}`))
