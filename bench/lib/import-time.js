import { createRequire } from 'node:module'

// Runs in a process of its own, and measures the imports of one contender and its first registration. There is no registration
// for NestJS, Effect and Fastify's plugin, because they need an app of their own.
const register = {
  pid1: ({ onShutdown }) => onShutdown(() => {}),
  'close-with-grace': ({ default: closeWithGrace }) => closeWithGrace(() => {}),
  'http-terminator': ({ createHttpTerminator }, server) => createHttpTerminator({ server }),
  'lil-http-terminator': ({ default: createTerminator }, server) => createTerminator({ server }),
  stoppable: ({ default: stoppable }, server) => stoppable(server),
  terminus: ({ createTerminus }, server) => createTerminus(server, {}),
  'http-graceful-shutdown': ({ default: gracefulShutdown }, server) => gracefulShutdown(server),
  'exit-hook': ({ default: exitHook }) => exitHook(() => {}),
  'async-exit-hook': ({ default: exitHook }) => exitHook(() => {}),
}

const needRealServer = new Set(['terminus', 'http-graceful-shutdown'])

const [name, preloaded, ...packages] = process.argv.slice(2)
// A contender that needs a server gets an object that costs nothing. node:http is loaded only if the argument says so.
const require = createRequire(import.meta.url)
const server = preloaded === 'http' ? (require('node:https'), require('node:http').createServer()) : { on() {} }

const start = performance.now()
const [loaded] = await Promise.all(packages.map((each) => import(each)))
const imported = performance.now()
const canRegister = name in register && (preloaded === 'http' || !needRealServer.has(name))
if (canRegister) register[name](loaded, server)
const ms = canRegister ? performance.now() - start : null
console.log(JSON.stringify({ importMs: imported - start, ms }))
process.exit(0)
