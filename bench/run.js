import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { measureCost } from './lib/cost.js'
import { measureHolds } from './lib/holds.js'
import { measureIdle } from './lib/idle.js'
import { measureImport } from './lib/imports.js'
import { measureLost } from './lib/lost.js'
import { measureOrphans } from './lib/orphans.js'
import { measureRestarts } from './lib/restarts.js'
import { whyNoPid1 } from './lib/processes.js'
import { measureSizes } from './lib/sizes.js'
import { measureStops } from './lib/stops.js'

const sections = {
  lost: measureLost,
  restarts: measureRestarts,
  stops: measureStops,
  holds: measureHolds,
  idle: measureIdle,
  orphans: measureOrphans,
  import: measureImport,
  sizes: measureSizes,
  cost: measureCost,
}
const usage = `npm run bench -- [--quick] [--only ${Object.keys(sections).join('|')}] [--runs N]`

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: Object.keys(sections) },
    runs: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
const wrong = values.only.find((name) => !Object.hasOwn(sections, name))
if (values.help || wrong !== undefined || (values.runs !== undefined && !/^[1-9]\d*$/.test(values.runs))) {
  console.error(usage)
  process.exit(values.help ? 0 : 1)
}

const noPid1 = whyNoPid1()
const setting = {
  node: process.version,
  platform: `${process.platform} ${process.arch}`,
  cores: availableParallelism(),
  as: noPid1 === undefined ? 'PID 1' : `ordinary processes (${noPid1})`,
}
const options = {
  pid1: noPid1 === undefined,
  quick: values.quick,
  ...(values.runs === undefined ? {} : { runs: Number(values.runs) }),
  say: (line) => console.error(line),
}

console.log(`Node ${setting.node}, ${setting.platform}, ${setting.cores} cores, servers as ${setting.as}.`)
for (const name of values.only) {
  const { results, text } = await sections[name](options)
  console.log(`\n${text}`)
  keep(name, results)
}

/** A short trial is no result: it goes to a file that is not committed. */
function keep(name, results) {
  const folder = new URL('results/', import.meta.url)
  mkdirSync(folder, { recursive: true })
  const major = process.versions.node.split('.')[0]
  const file = `${name}-node${major}.json${values.quick ? '.tmp' : ''}`
  const measured = { measured: new Date().toISOString(), ...setting, results }
  writeFileSync(new URL(file, folder), `${JSON.stringify(measured, null, 1)}\n`)
}
