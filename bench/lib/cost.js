import { setTimeout as delay } from 'node:timers/promises'
import autocannon from 'autocannon'
import { residentKibOf } from '../../test/helpers/proc.ts'
import { graceMs, start, stoppers, tableOf } from './contenders.js'
import { each, median, ofRuns, rotated, spread } from './statistics.js'

const bare = 'bare-exit'
const measured = stoppers.filter((name) => name !== 'server-close')
const connections = 50
const warmUpRounds = 2
const rounds = 3

/** The memory and throughput of a service with each contender, compared with the same service without it. */
export async function measureCost({ pid1, quick, runs = quick ? 1 : 5, say }) {
  const results = Object.fromEntries(measured.map((name) => [name, []]))
  for (let run = 0; run < runs; run++) {
    const pairs = await serveAll(rotated(measured, run), run, pid1)
    for (const name of measured) results[name].push(pairs[name])
    say(`cost, run ${run + 1}/${runs}`)
  }
  return { results, text: show(results, runs) }
}

/**
 * All servers run at the same time. Each is measured in turn with the bare one, a second each, so that a machine that slows down
 * slows both. A warm-up comes first: the bare server has run the longest, and its code is compiled by then.
 */
async function serveAll(names, run, pid1) {
  const servers = []
  for (const name of [bare, ...names]) servers.push({ name, ...(await start(name, { pid1 })) })
  await delay(500) // start-up is over
  for (const server of servers) server.idleKib = residentKibOf(server.pid)
  for (const server of servers) {
    for (let round = 0; round < warmUpRounds; round++) await rateOf(server)
    server.loadedKib = residentKibOf(server.pid)
  }
  const [without, ...others] = servers
  const pairs = {}
  for (const it of others) {
    const rates = new Map([
      [it, []],
      [without, []],
    ])
    for (let round = 0; round < rounds; round++) {
      const inTurn = (run + round) % 2 === 0 ? [it, without] : [without, it]
      for (const server of inTurn) rates.get(server).push(await rateOf(server))
    }
    pairs[it.name] = {
      idleKib: it.idleKib - without.idleKib,
      loadedKib: it.loadedKib - without.loadedKib,
      perSecond: median(rates.get(it)),
      barePerSecond: median(rates.get(without)),
    }
  }
  for (const server of servers) await server.stop(graceMs)
  return pairs
}

async function rateOf({ name, port }) {
  const { requests, errors, non2xx } = await autocannon({ url: `http://127.0.0.1:${port}/`, connections, duration: 1 })
  if (errors + non2xx > 0) throw new Error(`${name}: ${errors} errors, ${non2xx} answers other than 2xx`)
  return requests.average
}

function show(results, runs) {
  const mib = (kib) => (kib / 1024).toFixed(1)
  const header = ['MiB more, idle', 'MiB more, under load', 'throughput, of that of the bare one', 'requests a second']
  return [
    `What it costs a service that is not stopped, beside a bare server (${ofRuns(runs)}, the throughput in pairs). NestJS, ` +
      `Fastify and Effect serve with their framework, which is in it:`,
    tableOf(measured, header, (name) => {
      const ratios = results[name].map(({ perSecond, barePerSecond }) => perSecond / barePerSecond)
      return [
        spread(each(results[name], 'idleKib'), mib),
        spread(each(results[name], 'loadedKib'), mib),
        spread(ratios, (ratio) => ratio.toFixed(3)),
        Math.round(median(each(results[name], 'perSecond'))),
      ]
    }),
  ].join('\n\n')
}
