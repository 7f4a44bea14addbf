import { setTimeout as delay } from 'node:timers/promises'
import { graceMs, start } from './contenders.js'
import { each, inMs, ofRuns, rotated, spread, table } from './statistics.js'

const contenders = ['pid1', 'bare-exit']

/** From SIGTERM to the end of a server that has nothing to do, in pairs. */
export async function measureIdle({ pid1, quick, runs = quick ? 3 : 20, say }) {
  const ways = pid1 ? [true, false] : [false]
  const results = {}
  for (const asPid1 of ways) {
    const stops = { pid1: [], 'bare-exit': [] }
    for (let run = 0; run < runs; run++) {
      for (const name of rotated(contenders, run)) stops[name].push(await stopIdle(name, asPid1))
      say(`idle ${asPid1 ? 'as PID 1' : 'as a child'}, run ${run + 1}/${runs}`)
    }
    results[asPid1 ? 'as PID 1' : 'as an ordinary child'] = stops
  }
  return { results, text: show(results, runs) }
}

async function stopIdle(name, pid1) {
  const server = await start(name, { pid1 })
  await delay(200) // start-up is over, nothing is left to do
  const { code, killed, ms } = await server.stop(graceMs)
  return { code, killed, ms }
}

function show(results, runs) {
  const rows = Object.entries(results).map(([how, stops]) => {
    const ours = each(stops.pid1, 'ms')
    const bare = each(stops['bare-exit'], 'ms')
    const differences = ours.map((ms, run) => ms - bare[run])
    return [how, spread(ours, inMs), spread(bare, inMs), spread(differences, inMs)]
  })
  return [
    `Milliseconds from SIGTERM to the end of an idle server (${ofRuns(runs)}, in pairs):`,
    table(['', 'pid1', 'bare `process.exit(0)`', 'difference'], rows),
  ].join('\n\n')
}
