import { setTimeout as delay } from 'node:timers/promises'
import autocannon from 'autocannon'
import { graceMs, start, stoppers, tableOf } from './contenders.js'
import { residentOf } from './processes.js'
import { each, ofRuns, rotated, spread } from './statistics.js'

const measured = stoppers.filter((name) => name !== 'server-close')
const connections = 50

/** What a contender costs a service that is not stopped: memory and throughput, each beside the same server without it. */
export async function measureCost({ pid1, quick, runs = quick ? 1 : 5, say }) {
  const results = Object.fromEntries(measured.map((name) => [name, []]))
  const names = quick ? measured.slice(0, 3) : measured
  for (let run = 0; run < runs; run++) {
    for (const name of rotated(names, run)) {
      const pair = await servePair(name, run, pid1)
      results[name].push(pair)
      say(
        `cost, run ${run + 1}/${runs}, ${name}: ${(pair.perSecond / pair.barePerSecond).toFixed(3)} of the throughput`,
      )
    }
  }
  return { results, text: show(results, names, runs) }
}

/** Both are there at once and are asked in turn, so that a machine that slows down slows both. */
async function servePair(name, run, pid1) {
  const it = await start(name, { pid1 })
  const bare = await start('bare-exit', { pid1 })
  await delay(500) // start-up is over
  const [idleKib, bareIdleKib] = [it, bare].map(({ pid }) => residentOf(pid))
  for (const server of [it, bare]) await rateOf(server) // compiled by then
  const rates = { it: [], bare: [] }
  for (const turn of run % 2 === 0 ? ['it', 'bare', 'bare', 'it'] : ['bare', 'it', 'it', 'bare']) {
    rates[turn].push(await rateOf(turn === 'it' ? it : bare))
  }
  const [loadedKib, bareLoadedKib] = [it, bare].map(({ pid }) => residentOf(pid))
  for (const server of [it, bare]) await server.stop(graceMs)
  const [perSecond, barePerSecond] = [rates.it, rates.bare].map(mean)
  return { idleKib, bareIdleKib, loadedKib, bareLoadedKib, perSecond, barePerSecond }
}

async function rateOf({ port }) {
  const { requests, errors, non2xx } = await autocannon({ url: `http://127.0.0.1:${port}/`, connections, duration: 1 })
  if (errors + non2xx > 0) throw new Error(`${errors} errors, ${non2xx} answers other than 2xx`)
  return requests.average
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

function show(results, names, runs) {
  const mib = (kib) => (kib / 1024).toFixed(1)
  const more = (pairs, key, bare) =>
    spread(
      pairs.map((pair) => pair[key] - pair[bare]),
      mib,
    )
  return [
    `What it costs a service that is not stopped, beside the same bare server in the same minute (${ofRuns(runs)}). NestJS, Fastify ` +
      `and Effect serve with their framework, so that is in it:`,
    tableOf(
      names,
      ['MiB more, idle', 'MiB more, after the load', 'requests a second, of those of the bare one', 'both'],
      (name) => {
        const pairs = results[name]
        return [
          more(pairs, 'idleKib', 'bareIdleKib'),
          more(pairs, 'loadedKib', 'bareLoadedKib'),
          spread(
            pairs.map(({ perSecond, barePerSecond }) => perSecond / barePerSecond),
            (ratio) => ratio.toFixed(3),
          ),
          `${Math.round(mean(each(pairs, 'perSecond')))} and ${Math.round(mean(each(pairs, 'barePerSecond')))}`,
        ]
      },
    ),
  ].join('\n\n')
}
