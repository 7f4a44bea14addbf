import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { noPid1 } from '../test/helpers/run.ts'
import { measureCodes } from './lib/codes.js'
import { contenders, label, whyNot } from './lib/contenders.js'
import { measureCost } from './lib/cost.js'
import { measureDelay } from './lib/delay.js'
import { measureHold } from './lib/hold.js'
import { measureImport } from './lib/import.js'
import { measureLost } from './lib/lost.js'
import { measureOrphans } from './lib/orphans.js'
import { measureReconnect } from './lib/reconnect.js'
import { measureRestarts } from './lib/restarts.js'
import { measureSize } from './lib/size.js'
import { measureStop } from './lib/stop.js'

const measures = {
  lost: { measure: measureLost, what: 'requests lost in a stop under load' },
  restarts: { measure: measureRestarts, what: 'errors in rolling restarts behind nginx and HAProxy' },
  delay: { measure: measureDelay, what: 'a drain delay behind a balancer that notices late' },
  reconnect: { measure: measureReconnect, what: 'WebSocket clients that move to another server behind HAProxy' },
  stop: { measure: measureStop, what: 'time from SIGTERM to the end: idle, a request, a WebSocket, many connections' },
  hold: { measure: measureHold, what: 'the same with something that holds it up' },
  codes: { measure: measureCodes, what: 'exit codes' },
  orphans: { measure: measureOrphans, what: 'zombies, and what it costs to reap them' },
  import: { measure: measureImport, what: 'time of the import' },
  size: { measure: measureSize, what: 'tarball, and what is installed' },
  cost: { measure: measureCost, what: 'memory and throughput' },
}
const usage = `npm run bench -- [--quick] [--runs N] [--only NAME[,NAME]…]

--quick   a short trial
--runs    how often each is measured, instead of each measure's own number
--only    ${Object.entries(measures)
  .map(([name, { what }]) => `${name.padEnd(8)}  ${what}`)
  .join('\n          ')}`

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: Object.keys(measures) },
    runs: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
const only = values.only.flatMap((names) => names.split(','))
const isWrong = only.some((name) => !Object.hasOwn(measures, name)) || !/^[1-9]\d*$/.test(values.runs ?? '1')
if (values.help || isWrong) {
  console.error(usage)
  process.exit(values.help ? 0 : 1)
}

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
const absent = Object.keys(contenders).filter((name) => whyNot(name) !== undefined)

console.log(`Node ${setting.node}, ${setting.platform}, ${setting.cores} cores, servers as ${setting.as}.`)
for (const name of absent) console.log(`Not measured: ${label(name)} ${whyNot(name)}.`)
for (const name of only) {
  const since = performance.now()
  const { results, missing = [], text } = await measures[name].measure(options)
  const tables = [text, ...missing.map((what) => `Not measured: ${what}.`)].join('\n\n')
  console.log(`\n${tables}`)
  keep(name, { results, missing, tables })
  options.say(`${name} took ${((performance.now() - since) / 1000).toFixed(0)} s`)
}
process.exit() // even if a contender has left something open

/** A short trial does not overwrite a result: its file has another name. */
function keep(name, measured) {
  const folder = new URL('results/', import.meta.url)
  mkdirSync(folder, { recursive: true })
  const major = process.versions.node.split('.')[0]
  const file = `${name}-node${major}.json${values.quick ? '.tmp' : ''}`
  const all = { measured: new Date().toISOString(), ...setting, ...measured }
  writeFileSync(new URL(file, folder), `${JSON.stringify(all, null, 1)}\n`)
}
