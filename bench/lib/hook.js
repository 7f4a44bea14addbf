import { graceMs as killAfterMs, label, limitOf, start } from './contenders.js'
import { each, inMs, ofRuns, rotated, spread, table } from './statistics.js'

const graceMs = 2000
const deadlineMs = limitOf(graceMs)
const contenders = ['pid1', 'close-with-grace', 'server-close']

/** An idle server with a clean-up that never ends: how well the deadline is kept. */
export async function measureHook({ pid1, quick, runs = quick ? 1 : 10, say }) {
  const results = Object.fromEntries(contenders.map((name) => [name, []]))
  for (let run = 0; run < runs; run++) {
    for (const name of rotated(contenders, run)) {
      const server = await start(name, { pid1, hang: true, grace: graceMs })
      const { code, killed, ms, stderr } = await server.stop(killAfterMs)
      results[name].push({ code, killed, ms, stderr })
      say(`hanging hook, run ${run + 1}/${runs}, ${name}: ${ms.toFixed(0)} ms`)
    }
  }
  return { results, text: show(results, runs) }
}

function show(results, runs) {
  const rows = Object.entries(results).map(([name, stops]) => {
    const ended = stops.filter(({ killed }) => !killed)
    if (ended.length === 0) return [label(name), `killed after ${killAfterMs / 1000} s`, '', '']
    const after = ended.map(({ ms }) => ms - deadlineMs)
    const late = stops.filter(({ ms }) => ms > graceMs).length
    return [
      label(name),
      spread(after, inMs),
      `${late} of ${stops.length}`,
      [...new Set(each(stops, 'code'))].join(' or '),
    ]
  })
  return [
    `A hook that never ends, grace period ${graceMs} ms, deadline ${deadlineMs} ms: milliseconds from the deadline to the end ` +
      `(${ofRuns(runs)}):`,
    table(['', 'after the deadline', 'after the grace period', 'exit code'], rows),
  ].join('\n\n')
}
