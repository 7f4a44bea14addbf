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
    for (const name of rotated(contenders, run)) results[name].push(await serve(name, pid1, quick ? 1 : 5))
    const [ours, bare] = contenders.map((name) => results[name].at(-1))
    say(`cost, run ${run + 1}/${runs}: ${(ours.perSecond / bare.perSecond).toFixed(3)} of the throughput`)
  }
  return { results, text: show(results, runs) }
}

async function serve(name, pid1, seconds) {
  const server = await start(name, { pid1 })
  await delay(1000) // start-up is over
  const idleKib = residentOf(server.pid)
  const load = { url: `http://127.0.0.1:${server.port}/`, connections: 50 }
  await autocannon({ ...load, duration: 1 }) // compiled by then
  const { requests, errors, non2xx } = await autocannon({ ...load, duration: seconds })
  await delay(1000)
  const loadedKib = residentOf(server.pid)
  await server.stop(graceMs)
  if (errors + non2xx > 0) throw new Error(`${name}: ${errors} errors, ${non2xx} answers other than 2xx`)
  return { idleKib, loadedKib, perSecond: requests.average }
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
