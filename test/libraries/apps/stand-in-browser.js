#!/usr/bin/env node
// Speaks as much of the DevTools protocol as Puppeteer needs to launch a browser and to ask for its version.
import { WebSocketServer } from 'ws'

const results = {
  'Browser.getVersion': { product: 'StandIn/1', userAgent: '', protocolVersion: '1.3', revision: '', jsVersion: '' },
  'Target.getBrowserContexts': { browserContextIds: [] },
}
const server = new WebSocketServer({ port: 0, host: '127.0.0.1' }, () =>
  console.error(`DevTools listening on ws://127.0.0.1:${server.address().port}/devtools/browser/1`),
)
server.on('connection', (socket) => {
  socket.on('message', (data) => {
    const { id, method, sessionId } = JSON.parse(String(data))
    socket.send(JSON.stringify({ id, sessionId, result: results[method] ?? {} }))
    if (method === 'Browser.close') setTimeout(() => process.exit(0), 10)
  })
})
