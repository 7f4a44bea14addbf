// Random trees of processes under the init of `pid1 run`: npm run soak:init -- [COUNT] [SEED]
//
// Each tree is started, gets a signal at a random moment or none, and must end in its time, with the right code, and without leaving a
// process behind.
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const [count = 10_000, firstSeed = Math.floor(Math.random() * 1e6)] = process.argv.slice(2).map(Number)
const init = fileURLToPath(new URL(`../../dist/native/init-linux-${process.arch}`, import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'trees-'))
const actor = join(folder, 'actor')
const graceMs = 1500
// The machine is busy with the other trees.
const lateMs = 1500
const atOnce = 24

execFileSync('gcc', [
  '-O1',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-o',
  actor,
  fileURLToPath(new URL('actor.c', import.meta.url)),
])
console.log(`${count} trees from seed ${firstSeed}`)
let next = 0
const faults: string[] = []
const kinds = new Map<string, number>()
await Promise.all(Array.from({ length: atOnce }, plantInTurn))
rmSync(folder, { recursive: true })
console.log([...kinds].map(([kind, number]) => `${number} ${kind}`).join(', '))
for (const fault of faults) console.log(`FAULT ${fault}`)
console.log(`${count - faults.length} of ${count} trees ended as they should`)
process.exitCode = faults.length === 0 ? 0 : 1

async function plantInTurn(): Promise<void> {
  while (next < count) await plant(firstSeed + next++)
}

async function plant(seed: number): Promise<void> {
  const random = randomFrom(seed)
  const signal = ([undefined, 'SIGTERM', 'SIGTERM', 'SIGINT', 'SIGUSR1', 'SIGHUP'] as const)[random(6)]
  const options = random(2) === 0 ? ['--group'] : []
  const mark = `PID1_TREE=${seed}.`
  const child = spawn(init, [...options, '--grace', `${graceMs}ms`, actor, String(seed), '3'], {
    env: { PID1_TREE: `${seed}.` },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let plan = ''
  let errors = ''
  child.stdout.on('data', (data) => (plan += String(data)))
  child.stderr.on('data', (data) => (errors += String(data)))
  const exited = new Promise<number | string>((resolve) => {
    child.on('exit', (code, by) => resolve(code ?? by ?? 'nothing'))
  })
  while (!plan.includes('\n')) await Promise.race([wait(5), exited])
  const startedAt = performance.now()
  await Promise.race([wait(random(300)), exited])
  const signalledAt = performance.now()
  if (signal !== undefined && child.exitCode === null) child.kill(signal)
  // A tree that nobody stops is stopped in the end.
  const stopped = setTimeout(() => child.kill('SIGTERM'), 1000)
  const code = await exited
  clearTimeout(stopped)
  const endedAt = performance.now()
  const problems = judge(plan.trim(), code, signal)
  const tookMs = endedAt - (signal === undefined ? startedAt + 1000 : signalledAt)
  if (tookMs > 1000 + graceMs + lateMs) problems.push(`took ${Math.round(tookMs)} ms`)
  await wait(20) // the kernel frees what was killed a moment later
  const left = processesWith(mark)
  if (left.length > 0) problems.push(`left ${left.join(', ')}`)
  const kind = `${plan.split(' ')[0]} at ${signal ?? 'nothing'}`
  kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  if (problems.length > 0)
    faults.push(
      `seed ${seed} ${options.join(' ')} ${signal}: ${plan.trim()}: ${code}: ${problems.join('; ')} ${errors}`,
    )
}

/** The codes that the first process may have ended with, whatever was first. */
function judge(plan: string, code: number | string, signal: NodeJS.Signals | undefined): string[] {
  if (typeof code === 'string') return [`the init was ended by ${code}`]
  const [, way, own, life] = /^(dies|exits (\d+)|ignores) for (?:ever|\d+ (\d+))$/.exec(plan) ?? []
  if (way === undefined) return [`no plan: ${plan}`]
  const allowed = new Set<number>()
  if (life !== undefined) allowed.add(Number(life))
  // A signal of the test that has no handler, or SIGTERM at the end.
  if (signal === 'SIGINT') allowed.add(130)
  if (signal === 'SIGUSR1') allowed.add(138)
  if (signal === 'SIGHUP') allowed.add(129)
  if (way === 'ignores') allowed.add(137)
  else if (own !== undefined) allowed.add(Number(own)).add(137)
  // Where it dies of the signal, the code may be that of the one process behind it, which is not known here.
  const isOfAnother = way === 'dies' || [129, 130, 138].some((number) => allowed.has(number))
  return isOfAnother || allowed.has(code) ? [] : [`expected ${[...allowed].join(' or ')}`]
}

function processesWith(mark: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      if (!/^\d+$/.test(pid) || !readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark)) return false
      return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
    } catch {
      return false
    }
  })
}

function randomFrom(seed: number): (limit: number) => number {
  let state = seed >>> 0
  return (limit) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0
    return ((state ^ (state >>> 12)) >>> 0) % limit
  }
}
