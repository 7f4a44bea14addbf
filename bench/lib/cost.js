import { setTimeout as delay } from 'node:timers/promises'
import autocannon from 'autocannon'
import { graceMs, start } from './contenders.js'
import { residentOf } from './processes.js'
import { each, ofRuns, rotated, spread, table } from './statistics.js'

const contenders = ['pid1', 'bare-exit']

/** What the library costs a service that is not stopped: memory and throughput, beside the same server without it. */
export async function measureCost({ pid1, quick, runs = quick ? 3 : 20, say }) {
  const results = Object.fromEntries(contenders.map((name) => [name, []]))
  for (let run = 0; run < runs; run++) {
    const pair = await servePair(rotated(contenders, run), pid1, quick ? 1 : 5)
    for (const name of contenders) results[name].push(pair[name])
    say(
      `cost, run ${run + 1}/${runs}: ${(pair.pid1.perSecond / pair['bare-exit'].perSecond).toFixed(3)} of the throughput`,
    )
  }
  return { results, text: show(results, runs) }
}

/** Both are there at once and are asked in turn, a second each, so that a machine that slows down slows both. */
async function servePair(names, pid1, rounds) {
  const servers = []
  for (const name of names)
    servers.push({ name, ...(await start(name, { pid1 })), idleKib: 0, loadedKib: 0, rates: [] })
  await delay(1000) // start-up is over
  for (const server of servers) server.idleKib = residentOf(server.pid)
  for (const server of servers) await rateOf(server, 2) // compiled by then
  for (let round = 0; round < rounds; round++) {
    for (const server of [...servers, ...servers.toReversed()]) server.rates.push(await rateOf(server, 1))
  }
  await delay(1000)
  for (const server of servers) server.loadedKib = residentOf(server.pid)
  for (const server of servers) await server.stop(graceMs)
  return Object.fromEntries(
    servers.map(({ name, idleKib, loadedKib, rates }) => [name, { idleKib, loadedKib, perSecond: mean(rates) }]),
  )
}

async function rateOf({ name, port }, duration) {
  const { requests, errors, non2xx } = await autocannon({ url: `http://127.0.0.1:${port}/`, connections: 50, duration })
  if (errors + non2xx > 0) throw new Error(`${name}: ${errors} errors, ${non2xx} answers other than 2xx`)
  return requests.average
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

function show(results, runs) {
  const pairs = (key) => results.pid1.map((ours, run) => [ours[key], results['bare-exit'][run][key]])
  const mib = (kib) => (kib / 1024).toFixed(1)
  const more = (key) =>
    `${spread(
      pairs(key).map(([ours, bare]) => ours - bare),
      mib,
    )} more`
  const ratios = pairs('perSecond').map(([ours, bare]) => ours / bare)
  const row = (what, key, format) => [what, ...contenders.map((name) => spread(each(results[name], key), format))]
  return [
    `A server with and without the library, one after the other (${ofRuns(runs)}, in pairs):`,
    table(
      ['', 'pid1', 'bare', 'in pairs'],
      [
        [...row('resident, idle (MiB)', 'idleKib', mib), more('idleKib')],
        [...row('resident after the load (MiB)', 'loadedKib', mib), more('loadedKib')],
        [...row('requests a second', 'perSecond', Math.round), spread(ratios, (ratio) => ratio.toFixed(3))],
      ],
    ),
  ].join('\n\n')
}
