// npm run soak -- [count] [seed] [--at-once 4] [--replay FILE] [--shrink] [--show]: see README.md in this folder.
import { readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Broken } from './facts.ts'
import { generate } from './generate.ts'
import { check } from './model.ts'
import { Places } from './places.ts'
import { type Observation, play } from './play.ts'
import type { Scenario } from './scenario.ts'
import { shrink } from './shrink.ts'

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'at-once': { type: 'string', default: '4' },
    replay: { type: 'string' },
    shrink: { type: 'boolean', default: false },
    show: { type: 'boolean', default: false },
  },
})

/** A run that broke a rule. */
interface Failure {
  readonly seed: number | undefined
  readonly scenario: Scenario
  readonly broken: readonly Broken[]
}

const places = new Places(Number(options['at-once']))
const failures: Failure[] = []
const late: Failure[] = []
let played = 0

if (options.replay !== undefined) await replay(options.replay)
else await soak(Number(positionals[0] ?? 100), Number(positionals[1] ?? Math.floor(Math.random() * 2 ** 31)))

async function replay(file: string): Promise<void> {
  const scenario = JSON.parse(readFileSync(file, 'utf8')) as Scenario
  played = 1
  await judge(undefined, scenario, await broken(scenario))
  finish()
}

async function soak(count: number, seed: number): Promise<void> {
  console.log(`${count} shutdowns from seed ${seed}`)
  let next = seed
  const one = async () => {
    while (next < seed + count) {
      const own = next++
      const scenario = generate(own)
      await judge(own, scenario, await places.with(1, () => broken(scenario)))
      if (++played % 100 === 0) console.log(`${played} of ${count}, ${failures.length} with a broken rule`)
    }
  }
  await Promise.all(Array.from({ length: places.all }, one))
  finish()
}

async function broken(scenario: Scenario): Promise<Broken[]> {
  try {
    const seen = await play(scenario)
    if (options.show) show(scenario, seen)
    return check(scenario, seen)
  } catch (error) {
    return [{ rule: 'can be played', what: String(error), soft: false }]
  }
}

function show(scenario: Scenario, { events, clients, stderr, code, endedAt, triggered }: Observation): void {
  const begun = Math.min(...triggered.flatMap((time) => time ?? []))
  const after = (time: number) => `${(time - begun).toFixed(1)} ms`
  console.log(JSON.stringify(scenario))
  for (const { at, ...event } of events) console.log(after(at), JSON.stringify(event))
  for (const [index, outcomes] of clients.entries()) {
    for (const { sentAt, endedAt: over, how, detail, idleMs } of outcomes) {
      console.log(
        `client ${index}: ${after(sentAt)} to ${after(over)}, ${how}, ${detail}, idle before for ${idleMs.toFixed(0)} ms`,
      )
    }
  }
  console.log(`${stderr}ended with ${code} after ${after(endedAt)}`)
}

/** A run that was only late is repeated three times, alone: a busy machine is late once, a fault twice. */
async function judge(seed: number | undefined, scenario: Scenario, found: readonly Broken[]): Promise<void> {
  if (found.length === 0) return
  if (found.every(({ soft }) => soft)) {
    const again = () => places.with(places.all, () => broken(scenario))
    const lists = [await again(), await again(), await again()]
    if (lists.filter((list) => list.length > 0).length < 2) {
      late.push({ seed, scenario, broken: found })
      return
    }
  }
  failures.push({ seed, scenario, broken: found })
  console.log(`seed ${seed}:${lines(found)}`)
  if (options.shrink) await printSmallest(seed, scenario, found)
}

/** The smallest scenario found in a number of tries that still breaks one of the same rules. */
async function printSmallest(seed: number | undefined, scenario: Scenario, found: readonly Broken[]): Promise<void> {
  const rules = new Set(found.filter(({ soft }) => !soft || found.every((one) => one.soft)).map(({ rule }) => rule))
  const fails = async (smaller: Scenario) =>
    (await places.with(1, () => broken(smaller))).some(({ rule }) => rules.has(rule))
  const smallest = await shrink(scenario, fails, { atOnce: places.all, tries: 120 })
  const file = join(tmpdir(), `soak-${seed ?? 'replayed'}.json`)
  writeFileSync(file, JSON.stringify(smallest, undefined, 2))
  console.log(`seed ${seed}, smallest:\n${JSON.stringify(smallest)}\n  npm run soak -- --replay ${file}`)
}

function lines(found: readonly Broken[]): string {
  return found.map(({ rule, what }) => `\n  ${rule}: ${what}`).join('')
}

function finish(): void {
  const count = failures.reduce((sum, failure) => sum + failure.broken.length, 0)
  console.log(
    `${played} shutdowns, ${count} rules broken in ${failures.length}; ${late.length} late once, and not when repeated`,
  )
  for (const { seed, broken: found } of late) console.log(`late once: seed ${seed}:${lines(found)}`)
  process.exitCode = failures.length === 0 ? 0 : 1
}
