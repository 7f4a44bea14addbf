import { setTimeout as delay } from 'node:timers/promises'
import { graceMs as killAfterMs, label, start } from './contenders.js'
import { each, inMs, ofRuns, rotated, spread, table } from './statistics.js'

const graceMs = 2000
// Between the deadline and the platform's SIGKILL.
const watchdogMs = 1875
const contenders = ['pid1', 'close-with-grace', 'server-close']

/** A server whose event loop never turns again: who still ends, and how exactly. */
export async function measureBlocked({ pid1, quick, runs = quick ? 1 : 10, say }) {
  const results = Object.fromEntries(contenders.map((name) => [name, []]))
  for (let run = 0; run < runs; run++) {
    for (const name of rotated(contenders, run)) {
      const server = await start(name, { pid1, grace: graceMs })
      const blocking = fetch(`http://127.0.0.1:${server.port}/block`).catch(() => {}) // it gets no answer
      await server.said(/blocked/)
      await delay(100)
      const { code, killed, ms, stderr } = await server.stop(killAfterMs)
      await blocking
      results[name].push({ code, killed, ms, stderr })
      say(`blocked loop, run ${run + 1}/${runs}, ${name}: ${ms.toFixed(0)} ms`)
    }
  }
  return { results, text: show(results, runs) }
}

function show(results, runs) {
  const rows = Object.entries(results).map(([name, stops]) => {
    const ended = stops.filter(({ killed }) => !killed)
    if (ended.length === 0) return [label(name), `killed after ${killAfterMs / 1000} s`, '', '']
    return [
      label(name),
      spread(
        each(ended, 'ms').map((ms) => ms - watchdogMs),
        inMs,
      ),
      `${stops.filter(({ ms }) => ms > graceMs).length} of ${stops.length}`,
      [...new Set(each(ended, 'code'))].join(' or '),
    ]
  })
  return [
    `A loop that is blocked for good before the signal comes, grace period ${graceMs} ms: milliseconds from the watchdog's ` +
      `time, ${watchdogMs} ms, to the end (${ofRuns(runs)}):`,
    table(['', "after the watchdog's time", 'after the grace period', 'exit code'], rows),
  ].join('\n\n')
}
