import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { graceMs, label, limitMs, start, stoppers } from './contenders.js'
import { showStops } from './lost.js'
import { ofRuns, rotated, table } from './statistics.js'

/** What may keep a process from leaving, and what a stop should then end with. */
const holders = {
  'clean-up done': {},
  'clean-up fails': { cleanUp: 'fails' },
  'clean-up hangs': { cleanUp: 'hangs' },
  'a live timer': { env: { BENCH_TIMER: '1' } },
  'a blocked thread pool': { path: '/pool' },
  'a blocked loop': { path: '/block' },
}
// Effect answers by itself, and has no way to the app's code for these.
const without = { effect: ['a blocked thread pool'] }

/** Time to exit, and the code, with something in the way: all that is left is to keep the deadline and to say so. */
export async function measureHolds({ pid1, quick, runs = quick ? 1 : 5, say }) {
  const folder = mkdtempSync(join(tmpdir(), 'fifo-'))
  const fifo = join(folder, 'fifo')
  spawnSync('mkfifo', [fifo])
  const results = Object.fromEntries(Object.keys(holders).map((holder) => [holder, {}]))
  for (const [holder, { path, cleanUp, env }] of Object.entries(holders)) {
    for (const name of stoppers) results[holder][name] = []
    for (let run = 0; run < runs; run++) {
      for (const name of rotated(stoppers, run)) {
        if (without[name]?.includes(holder)) continue
        const server = await start(name, { pid1, cleanUp, env: { ...env, BENCH_FIFO: fifo } })
        if (path === undefined) await delay(200)
        else {
          void fetch(`http://127.0.0.1:${server.port}${path}`, { headers: { connection: 'close' } }).catch(() => {})
          await server.said(/blocked/)
          await delay(100)
        }
        const { code, killed, ms, stderr } = await server.stop(graceMs)
        results[holder][name].push({ code, killed, ms, stderr })
        say(`${holder}, run ${run + 1}/${runs}, ${name}: ${killed ? 'killed' : `${ms.toFixed(0)} ms, ${code}`}`)
      }
    }
  }
  rmSync(folder, { recursive: true })
  return { results, text: show(results, runs) }
}

function show(results, runs) {
  const names = Object.keys(results)
  const cell = (stops) => (stops.length === 0 ? '–' : showStops(stops))
  return [
    `Seconds from SIGTERM to the end, and the exit code where it is not 0; the time limit is ${limitMs / 1000} s, and SIGKILL ` +
      `comes after ${graceMs / 1000} s (${ofRuns(runs)}):`,
    table(
      ['', ...names],
      stoppers.map((name) => [label(name), ...names.map((holder) => cell(results[holder][name]))]),
    ),
  ].join('\n\n')
}
