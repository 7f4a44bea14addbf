import { fileURLToPath } from 'node:url'
import { contenders, stoppers, tableOf } from './contenders.js'
import { runForJson } from './processes.js'
import { each, inMs, ofRuns, rotated, spread } from './statistics.js'

const measured = stoppers.filter((name) => contenders[name].packages.length > 0)
const ways = ['alone', 'http']
const importTime = fileURLToPath(new URL('import-time.js', import.meta.url))

/** Import and first registration, each in a process of its own. */
export async function measureImport({ quick, runs = quick ? 3 : 10, say }) {
  const results = Object.fromEntries(measured.map((name) => [name, { alone: [], http: [] }]))
  for (let run = -1; run < runs; run++) {
    for (const way of ways) {
      for (const name of rotated(measured, run + 1)) {
        const result = await runForJson(importTime, [name, way, ...contenders[name].packages])
        // The first round only brings the files into the page cache.
        if (run >= 0) results[name][way].push(result)
      }
    }
    if (run >= 0) say(`import, run ${run + 1}/${runs}`)
  }
  return { results, text: show(results, runs) }
}

function show(results, runs) {
  return [
    `Milliseconds for the import, and with the first registration where that can be had without an app, in a fresh process ` +
      `(${ofRuns(runs)}):`,
    tableOf(measured, ['import', 'and registration', 'after node:http', 'and registration'], (name) =>
      ways.flatMap((way) => ['importMs', 'ms'].map((key) => cell(each(results[name][way], key)))),
    ),
  ].join('\n\n')
}

function cell(values) {
  return values.includes(null) ? '–' : spread(values, inMs)
}
