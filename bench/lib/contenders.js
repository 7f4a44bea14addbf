import { fileURLToPath } from 'node:url'
import { startServer } from './processes.js'

/** Each gets the same time: the grace period less what pid1 keeps in reserve of it. */
export const graceMs = 5000
export const limitMs = limitOf(graceMs)

const labels = { 'server-close': 'bare `server.close()`', 'not-stopped': "not stopped: the clients' own error" }
export const label = (name) => labels[name] ?? name

const file = (name) => fileURLToPath(new URL(`../contenders/${name}.js`, import.meta.url))

export function start(name, { pid1, tls = false, hang = false, grace = graceMs, port = 0 }) {
  return startServer(file(name), {
    pid1,
    env: {
      BENCH_PORT: String(port),
      BENCH_LIMIT_MS: String(limitOf(grace)),
      BENCH_TLS: tls ? '1' : '',
      BENCH_HANG: hang ? '1' : '',
      PID1_GRACE_PERIOD: `${grace}ms`,
    },
  })
}

/** The deadline that pid1 keeps, counted from the signal. */
export function limitOf(grace) {
  return grace - Math.min(Math.max(grace / 10, 250), 2000, grace / 2)
}
