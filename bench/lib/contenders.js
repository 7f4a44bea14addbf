import { fileURLToPath } from 'node:url'
import { startServer } from './processes.js'

/** Each gets the same time: the grace period less what pid1 keeps in reserve of it. */
export const graceMs = 5000
export const limitMs = limitOf(graceMs)

/** All that stop a service, in the order of the tables. */
export const stoppers = [
  'pid1',
  'server-close',
  'close-with-grace',
  'http-terminator',
  'lil-http-terminator',
  'stoppable',
  'terminus',
  'http-graceful-shutdown',
  'fastify-graceful-shutdown',
  'exit-hook',
  'async-exit-hook',
  'lightship',
  'nestjs',
  'effect',
]

const labels = {
  pid1: '**pid1**',
  'server-close': 'bare `server.close()`',
  'bare-exit': 'bare `process.exit(0)`',
  'close-all': 'bare `closeAllConnections()`',
  'not-stopped': "not stopped: the clients' own error",
  nestjs: "NestJS's shutdown hooks",
  effect: "Effect's `runMain`",
}
export const label = (name) => labels[name] ?? name

const file = (name) => fileURLToPath(new URL(`../contenders/${name}.js`, import.meta.url))

/**
 * Starts a contender. `server`: http, https or http2; `cleanUp`: nothing, `fails` or `hangs`; `env`: what else the app is to do.
 */
export function start(name, { pid1, server = 'http', cleanUp = '', grace = graceMs, port = 0, env = {}, inside = [] }) {
  return startServer(file(name), {
    pid1,
    inside,
    env: {
      BENCH_PORT: String(port),
      BENCH_LIMIT_MS: String(limitOf(grace)),
      BENCH_SERVER: server,
      BENCH_CLEAN_UP: cleanUp,
      PID1_GRACE_PERIOD: `${grace}ms`,
      ...env,
    },
  })
}

/** The deadline that pid1 keeps, counted from the signal. */
export function limitOf(grace) {
  return grace - Math.min(Math.max(grace / 10, 250), 2000, grace / 2)
}
