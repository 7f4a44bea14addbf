import { setTimeout as delay } from 'node:timers/promises'
import { graceMs, start } from './contenders.js'
import { each, inSeconds, rotated, spread } from './statistics.js'

// Long enough for a server that nothing delays to exit before the next one gets its signal. The others wait side by side.
const apartMs = 200

/**
 * Stops every contender in each situation, `runs` times. A situation has the options of `start`, and two functions that prepare the
 * server: `before` runs when all servers are ready, `just` immediately before SIGTERM. `just` may return promises of what the clients
 * see. `atOnce` is the number of servers at the same time, `oneByOne` is for stops that would disturb each other.
 */
export async function stopInSituations({ situations, names, pid1, runs, say }) {
  const results = {}
  const missing = new Set()
  for (const [situation, { atOnce = names.length, runs: own = runs, ...how }] of Object.entries(situations)) {
    results[situation] = Object.fromEntries(names.map((name) => [name, []]))
    const times = Math.min(runs, own)
    for (let run = 0; run < times; run++) {
      for (const batch of inBatches(rotated(names, run), atOnce)) {
        for (const { name, why, ...stop } of await stopBatch(batch, how, pid1)) {
          if (why === undefined) results[situation][name].push(stop)
          else missing.add(`${name}, ${situation}: ${why}`)
        }
      }
      say(`${situation}, run ${run + 1}/${times}`)
    }
  }
  return { results, missing: [...missing] }
}

async function stopBatch(names, { before, just, oneByOne = false, ...how }, pid1) {
  const servers = []
  for (const name of names) servers.push(await tryTo(name, () => start(name, { pid1, ...how })))
  for (const server of servers) {
    if (server.why === undefined) Object.assign(server, await tryTo(server.name, async () => before?.(server)))
  }
  await delay(500) // start-up is over
  const stops = []
  for (const server of servers) {
    stops.push(server.why === undefined ? tryTo(server.name, () => stopOne(server, just)) : leaveOut(server))
    await (oneByOne ? stops.at(-1) : delay(apartMs))
  }
  return Promise.all(stops)
}

/** Its server may run, but could not be prepared. */
async function leaveOut(server) {
  await server.stop?.(graceMs)
  return server
}

async function stopOne(server, just = () => {}) {
  const clients = await Promise.resolve(just(server)).catch(async (error) => {
    await server.stop(graceMs)
    throw error
  })
  const { code, killed, ms, stderr } = await server.stop(graceMs)
  await server.clients?.stop()
  const seen = Object.entries(clients ?? {}).map(async ([what, promise]) => [what, await promise])
  return { code, killed, ms, stderr, ...Object.fromEntries(await Promise.all(seen)) }
}

/** Returns the reason instead of numbers if something cannot be measured. */
async function tryTo(name, act) {
  try {
    return { name, ...(await act()) }
  } catch (error) {
    return { name, why: error.message.split('\n')[0] }
  }
}

function inBatches(names, size) {
  return names.length <= size ? [names] : [names.slice(0, size), ...inBatches(names.slice(size), size)]
}

/** How long the stops took. Servers that had to be killed are counted, not averaged. */
export function showStops(stops) {
  if (stops.length === 0) return '–'
  const ended = stops.filter(({ killed }) => !killed)
  const killed = stops.length - ended.length
  const codes = [...new Set(each(ended, 'code'))].filter((code) => code !== 0)
  const parts = []
  if (ended.length > 0) parts.push(spread(each(ended, 'ms'), inSeconds))
  if (codes.length > 0) parts.push(`exit ${codes.join(' or ')}`)
  if (killed > 0) parts.push(ended.length > 0 ? `killed ${killed} of ${stops.length} times` : 'killed')
  return parts.join(', ')
}
