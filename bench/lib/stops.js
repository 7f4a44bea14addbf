import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { graceMs, label, start, stoppers } from './contenders.js'
import { showStops } from './lost.js'
import { ofRuns, rotated, spread, table } from './statistics.js'

const contenders = [...stoppers, 'close-all']
const manyConnections = 10_000
const idleForMs = 11_000

const situations = {
  idle: { prepare: () => delay(200) },
  'a request just before': {
    prepare: async ({ port }) => {
      await ask(port)
    },
  },
  'a request of 1 s': {
    prepare: async (server) => {
      connect(server.port, '127.0.0.1')
        .on('error', () => {})
        .write(requestFor('/slow'))
      await server.said(/slow/)
    },
  },
  'a WebSocket': {
    env: { BENCH_WEB_SOCKETS: '1' },
    prepare: async (server) => {
      const socket = new WebSocket(`ws://127.0.0.1:${server.port}`)
      socket.on('error', () => {})
      const closed = new Promise((resolve) => void socket.once('close', resolve))
      await server.said(/upgraded/)
      return { closed }
    },
  },
  '10 000 idle connections': {
    env: { BENCH_KEEP_ALIVE_MS: '60000' },
    runs: 3,
    prepare: async ({ port }) => {
      for (let made = 0; made < manyConnections; made += 100) {
        await Promise.all(Array.from({ length: 100 }, () => ask(port)))
      }
      await delay(idleForMs)
    },
  },
}

// It takes upgrades itself.
const without = { effect: ['a WebSocket'] }

/** From SIGTERM to the end, in the situations that a service is stopped in. */
export async function measureStops({ pid1, quick, runs = quick ? 1 : 5, say }) {
  const names = Object.keys(situations).filter((name) => !quick || situations[name].runs === undefined)
  const results = Object.fromEntries(names.map((situation) => [situation, {}]))
  for (const situation of names) {
    const { env, prepare, runs: most = runs } = situations[situation]
    for (const name of contenders) results[situation][name] = []
    for (let run = 0; run < Math.min(runs, most); run++) {
      for (const name of rotated(contenders, run)) {
        if (without[name]?.includes(situation)) continue
        const server = await start(name, { pid1, env })
        const { closed } = (await prepare(server)) ?? {}
        const { code, killed, ms } = await server.stop(graceMs)
        const closeCode = await closed
        results[situation][name].push({ code, killed, ms, ...(closed && { closeCode }) })
        say(`${situation}, run ${run + 1}, ${name}: ${killed ? 'killed' : `${ms.toFixed(0)} ms`} ${closeCode ?? ''}`)
      }
    }
  }
  return { results, text: show(results, runs) }
}

/** One request on a connection that stays open. */
function ask(port) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(requestFor('/')))
    socket.once('data', resolve)
    socket.once('error', reject)
    socket.on('error', () => {})
  })
}

function requestFor(path) {
  return `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`
}

function show(results, runs) {
  const names = Object.keys(results)
  const cell = (stops) => {
    if (stops.length === 0) return '–'
    const codes = stops.flatMap(({ closeCode }) => closeCode ?? [])
    return codes.length === 0 ? showStops(stops) : `${showStops(stops)}; close code ${spread(codes)}`
  }
  return [
    `Seconds from SIGTERM to the end, and the exit code where it is not 0 (${ofRuns(runs)}):`,
    table(
      ['', ...names],
      contenders.map((name) => [label(name), ...names.map((situation) => cell(results[situation][name]))]),
    ),
  ].join('\n\n')
}
