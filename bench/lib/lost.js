import { setTimeout as delay } from 'node:timers/promises'
import { startNetwork, whyNoNetwork } from '../../test/helpers/network.ts'
import { graceMs, limitMs, start, stoppers, tableOf } from './contenders.js'
import { startClients, untilExit } from './processes.js'
import { showStops } from './situations.js'
import { each, rotated, spread } from './statistics.js'

// The last one is not stopped at all: a request that it loses is an error of the clients themselves.
const contenders = [...stoppers, 'not-stopped']

const kept = (clients, thinkMs = 5) => ({ clients, thinkMs, mode: 'keep-alive' })
const scenarios = {
  '50 clients': kept(50),
  '200 clients': kept(200),
  '1000 clients': kept(1000),
  '5000 clients': { ...kept(5000), runs: 2 },
  '200, up to 300 ms': kept(200, 300),
  '1000, up to 4 s': { ...kept(1000, 4000), runs: 2 },
  '500 new/s': { mode: 'new', rate: 500 },
  '500 new/s, 20 ms away': { mode: 'new', rate: 500, roundTripMs: 20 },
  '1000 new/s, saturated': { mode: 'new', rate: 1000, path: '/heavy' },
  'HTTP/2, 50 × 4 streams': { server: 'http2', clients: 50, streams: 4, thinkMs: 5, runs: 2 },
}
// Counted from the moment when all clients are at work.
const loadMs = 500
const quickScenarios = ['200 clients', '500 new/s', 'HTTP/2, 50 × 4 streams']

/** Requests lost while the server stops under load. */
export async function measureLost({ pid1, quick, runs, say }) {
  const names = quick ? quickScenarios : Object.keys(scenarios)
  const results = {}
  const missing = new Set()
  for (const scenario of names) {
    results[scenario] = Object.fromEntries(contenders.map((name) => [name, []]))
    const { runs: own = 3, ...how } = scenarios[scenario]
    const times = runs ?? (quick ? 1 : own)
    for (let run = 0; run < times; run++) {
      for (const name of rotated(contenders, run)) {
        const { why, ...result } = await tryToStop(name, how, pid1)
        if (why === undefined) results[scenario][name].push(result)
        else missing.add(`${name}, ${scenario}: ${why}`)
        say(`${scenario}, run ${run + 1}/${times}, ${name}: ${why ?? `${result.lost} lost of ${result.sent}`}`)
      }
    }
  }
  return { results, missing: [...missing], text: show(results) }
}

/** Returns the reason instead of numbers if something cannot be measured. */
async function tryToStop(name, { roundTripMs, ...scenario }, pid1) {
  try {
    return await (roundTripMs === undefined
      ? stopUnderLoad(name, scenario, pid1)
      : stopFarAway(name, scenario, pid1, roundTripMs))
  } catch (error) {
    return { why: error.message.split('\n')[0] }
  }
}

async function stopFarAway(name, scenario, pid1, roundTripMs) {
  const why = whyNoNetwork()
  if (why !== undefined) return { why }
  const { network, end } = await startNetwork(untilExit, roundTripMs)
  try {
    return await stopUnderLoad(name, scenario, pid1, network)
  } finally {
    await end()
  }
}

async function stopUnderLoad(name, { server: kind, ...clients }, pid1, network = {}) {
  const isStopped = name !== 'not-stopped'
  const { serverSide, clientSide, address: host = '127.0.0.1' } = network
  const options = { pid1, server: kind, inside: serverSide, env: { BENCH_HOST: host } }
  const server = await start(isStopped ? name : 'server-close', options)
  const load = { ...clients, host, port: server.port, maxMs: 20_000 }
  // Long enough for each client to get its second answer.
  const stopAfterMs = Math.ceil(2000 + (clients.clients ?? 0) + 1.5 * (clients.thinkMs ?? 0))
  const starting = startClients(isStopped ? load : { ...load, stopAfterMs }, clientSide)
  const { counted } = await starting.catch(async (error) => {
    await server.stop(graceMs)
    throw error
  })
  await (isStopped ? delay(loadMs) : counted)
  const { code, killed, ms, stderr } = await server.stop(graceMs)
  const { sent, lost, lostOnNew, again, refused, statuses, detail } = await counted
  const refusals = countRefusals(detail)
  const seen = { sent, lost: lost - refusals, lostOnNew, again, refused, statuses, detail }
  if (refusals > 0) seen.statuses[503] = refusals
  return isStopped ? { ...seen, code, killed, ms, stderr } : seen
}

/** HTTP/2 clients count every answer that is not the app's own as lost. For HTTP/1 clients a complete 503 is an answer. */
function countRefusals(detail) {
  const refusals = Object.entries(detail).filter(([why]) => /^status 503, ".+", code 0, /.test(why))
  return refusals.reduce((sum, [, count]) => sum + count, 0)
}

function show(results) {
  const names = Object.keys(results)
  const header = names.map((name) => `${name} (${Math.max(...each(Object.values(results[name]), 'length'))}×)`)
  const rows = (cell) => (name) => names.map((scenario) => cell(results[scenario][name]))
  return [
    `Requests lost in a stop under load; medians and spread, of as many runs as the head says. Clients keep their connections ` +
      `and think for up to 5 ms, or as it says, between two requests; new ones post once. What was answered, but not with 200, ` +
      `is in brackets:`,
    tableOf(contenders, header, rows(showLost)),
    `Seconds from SIGTERM to the end of the same stops, and the exit code where it is not 0. Killed is who has not ended ` +
      `after ${graceMs / 1000} s; who takes a time limit was given ${limitMs / 1000} s:`,
    tableOf(stoppers, header, rows(showStops)),
  ].join('\n\n')
}

function showLost(stops) {
  if (stops.length === 0) return '–'
  const others = new Map()
  for (const { statuses } of stops) {
    for (const [status, count] of Object.entries(statuses)) {
      if (status !== '200') others.set(status, Math.max(count, others.get(status) ?? 0))
    }
  }
  const told = [...others].map(([status, count]) => `up to ${count} × ${status}`)
  return [spread(each(stops, 'lost')), ...(told.length > 0 ? [`[${told.join(', ')}]`] : [])].join(' ')
}
