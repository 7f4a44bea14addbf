import { fileURLToPath } from 'node:url'
import { runForJson } from './processes.js'
import { each, inMs, ofRuns, rotated, spread, table } from './statistics.js'

const packages = ['pid1', 'close-with-grace', 'stoppable', 'http-terminator', 'signal-exit']
const ways = ['alone', 'http']
const importTime = fileURLToPath(new URL('import-time.js', import.meta.url))

/** Import and first registration, each in a process of its own. */
export async function measureImport({ quick, runs = quick ? 3 : 20, say }) {
  const results = Object.fromEntries(packages.map((name) => [name, { alone: [], http: [] }]))
  for (let run = -1; run < runs; run++) {
    for (const way of ways) {
      for (const name of rotated(packages, run + 1)) {
        const result = await runForJson(importTime, [name, way])
        // The first round only brings the files into the page cache.
        if (run >= 0) results[name][way].push(result)
      }
    }
    if (run >= 0) say(`import, run ${run + 1}/${runs}`)
  }
  return { results, text: show(results, runs) }
}

function show(results, runs) {
  const cell = (measured) => spread(each(measured, 'ms'), inMs)
  const rows = Object.entries(results).map(([name, measured]) => [name, ...ways.map((way) => cell(measured[way]))])
  return [
    `Milliseconds for the import and the first registration in a fresh process (${ofRuns(runs)}):`,
    table(['', 'nothing else loaded', 'node:http and node:https loaded before'], rows),
  ].join('\n\n')
}
