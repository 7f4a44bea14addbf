import { createRequire } from 'node:module'

// Run in a fresh process: how long the import of one package and its first registration take.
const register = {
  pid1: ({ onShutdown }) => onShutdown(() => {}),
  'close-with-grace': ({ default: closeWithGrace }) => closeWithGrace(() => {}),
  stoppable: ({ default: stoppable }, server) => stoppable(server),
  'http-terminator': ({ createHttpTerminator }, server) => createHttpTerminator({ server }),
  'signal-exit': ({ onExit }) => onExit(() => {}),
}

const [name, preloaded] = process.argv.slice(2)
// For those that need a server, one that costs nothing here; node:http itself is loaded only when asked.
const require = createRequire(import.meta.url)
const server = preloaded === 'http' ? (require('node:https'), require('node:http').createServer()) : { on() {} }

const start = performance.now()
const loaded = await import(name)
const imported = performance.now()
register[name](loaded, server)
const registered = performance.now()
console.log(JSON.stringify({ importMs: imported - start, registerMs: registered - imported, ms: registered - start }))
process.exit(0)
