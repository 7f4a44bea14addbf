import { fileURLToPath } from 'node:url'
import { startServer } from './processes.js'
import { table } from './statistics.js'

/** Each gets the same time: the grace period less what pid1 keeps in reserve of it. */
export const graceMs = 5000
export const limitMs = limitOf(graceMs)

const ofItself = 'it makes its server itself, and not of that kind'

/**
 * All that stop a service, in the order of the tables: what is to be installed for it, the Node that it needs where that is not
 * the oldest one here, and what it cannot do.
 */
export const contenders = {
  pid1: { label: '**pid1**', packages: ['pid1'] },
  'server-close': { label: 'bare `server.close()`', packages: [] },
  'close-with-grace': { packages: ['close-with-grace'] },
  'http-terminator': { packages: ['http-terminator'] },
  'lil-http-terminator': { packages: ['lil-http-terminator'] },
  stoppable: { packages: ['stoppable'] },
  terminus: { packages: ['@godaddy/terminus'] },
  'http-graceful-shutdown': { packages: ['http-graceful-shutdown'] },
  'fastify-graceful-shutdown': { packages: ['fastify-graceful-shutdown'] },
  'exit-hook': { packages: ['exit-hook'] },
  'async-exit-hook': { packages: ['async-exit-hook'] },
  lightship: { packages: ['lightship'] },
  nestjs: {
    label: "NestJS's shutdown hooks",
    packages: ['@nestjs/core', '@nestjs/common', '@nestjs/platform-express', 'reflect-metadata', 'rxjs'],
    cannot: { http2: ofItself },
  },
  effect: {
    label: "Effect's `runMain`",
    packages: ['effect', '@effect/platform-node'],
    node: '22.19', // of the undici that it depends on
  },
}
const others = {
  'bare-exit': 'bare `process.exit(0)`',
  'close-all': 'bare `closeAllConnections()`',
  'not-stopped': "the clients' own error",
}
export const label = (name) => contenders[name]?.label ?? others[name] ?? name

/** Why a contender is not measured on this Node, or undefined. */
export function whyNot(name) {
  const [major, minor] = contenders[name]?.node?.split('.').map(Number) ?? [0, 0]
  const [ours, oursMinor] = process.versions.node.split('.').map(Number)
  return ours > major || (ours === major && oursMinor >= minor) ? undefined : `needs Node ${contenders[name].node}`
}

/** Those that this Node runs. */
export const stoppers = Object.keys(contenders).filter((name) => whyNot(name) === undefined)

/** In the order of the tables, with those that this Node does not run, and after them whatever else was measured. */
export function inOrder(names) {
  return [...Object.keys(contenders), ...names.filter((name) => name in others)].filter(
    (name) => names.includes(name) || whyNot(name) !== undefined,
  )
}

/** A row for each contender, and for who is not measured on this Node the reason. */
export function tableOf(names, header, cellsOf) {
  const absent = (name) => header.map((_, column) => (column === 0 ? whyNot(name) : '–'))
  const rows = inOrder(names).map((name) => [label(name), ...(names.includes(name) ? cellsOf(name) : absent(name))])
  return table(['', ...header], rows)
}

const file = (name) => fileURLToPath(new URL(`../contenders/${name}.js`, import.meta.url))

/**
 * Starts a contender. `server`: http, https or http2; `cleanUp`: nothing, `fails` or `hangs`; `env`: what else the app is to do.
 */
export async function start(name, { pid1, server = 'http', cleanUp = '', port = 0, env = {}, inside = [] }) {
  const why = contenders[name]?.cannot?.[server]
  if (why !== undefined) throw new Error(why)
  return startServer(file(name), {
    pid1,
    inside,
    env: {
      BENCH_PORT: String(port),
      BENCH_LIMIT_MS: String(limitMs),
      BENCH_SERVER: server,
      BENCH_CLEAN_UP: cleanUp,
      PID1_GRACE_PERIOD: `${graceMs}ms`,
      ...env,
    },
  })
}

/** The deadline that pid1 keeps, counted from the signal. */
function limitOf(grace) {
  return grace - Math.min(Math.max(grace / 10, 250), 2000, grace / 2)
}
