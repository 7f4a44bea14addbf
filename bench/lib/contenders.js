import { fileURLToPath } from 'node:url'
import { startServer } from './processes.js'
import { table } from './statistics.js'

/** Each contender gets the same time: the grace period minus the margin that pid1 keeps. */
export const graceMs = 5000
export const limitMs = limitOf(graceMs)

const ofItself = 'it makes its server itself, and not of that kind'

/**
 * All contenders in the order of the tables: the packages of each, the Node version that it needs if that is not the oldest
 * supported one, and what it cannot do.
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
    node: '22.19', // its undici needs it
  },
}
const others = {
  'bare-exit': 'bare `process.exit(0)`',
  'close-all': 'bare `closeAllConnections()`',
  'not-stopped': "the clients' own error",
}
export const label = (name) => contenders[name]?.label ?? others[name] ?? name

/** Why a contender is not measured on this version of Node; undefined if it is. */
export function whyNot(name) {
  const [major, minor] = contenders[name]?.node?.split('.').map(Number) ?? [0, 0]
  const [ours, oursMinor] = process.versions.node.split('.').map(Number)
  return ours > major || (ours === major && oursMinor >= minor) ? undefined : `needs Node ${contenders[name].node}`
}

/** The contenders that this version of Node can run. */
export const stoppers = Object.keys(contenders).filter((name) => whyNot(name) === undefined)

/** The rows of a table: all contenders, even those that this version of Node cannot run, and then everything else that was measured. */
export function inOrder(names) {
  return [...Object.keys(contenders), ...names.filter((name) => name in others)].filter(
    (name) => names.includes(name) || whyNot(name) !== undefined,
  )
}

/** A row for each contender, with the reason if it is not measured on this version of Node. */
export function tableOf(names, header, cellsOf) {
  const absent = (name) => header.map((_, column) => (column === 0 ? whyNot(name) : '–'))
  const rows = inOrder(names).map((name) => [label(name), ...(names.includes(name) ? cellsOf(name) : absent(name))])
  return table(['', ...header], rows)
}

const file = (name) => fileURLToPath(new URL(`../contenders/${name}.js`, import.meta.url))

/**
 * Starts a contender. `server`: http, https or http2; `cleanUp`: nothing, `fails` or `hangs`; `env`: further variables for the app.
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

/** The deadline of pid1, counted from the signal. */
function limitOf(grace) {
  return grace - Math.min(Math.max(grace / 10, 250), 2000, grace / 2)
}
