// Clients that have had an answer and keep their connections, in a process of their own: `node idle-clients.js PORT COUNT`.
// Prints `ready` when all are connected, and exits when its stdin ends.
import { connect } from 'node:net'

const [port, count] = process.argv.slice(2).map(Number)
const atATime = 100

for (let made = 0; made < count; made += atATime) {
  await Promise.all(Array.from({ length: Math.min(atATime, count - made) }, ask))
}
console.log('ready')
process.stdin.resume().on('end', () => process.exit(0))

function ask() {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'))
    socket.once('data', resolve)
    socket.once('error', reject)
  })
}
