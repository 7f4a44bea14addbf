import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { ShutdownReport } from 'pid1'
import { type Run, start } from '../helpers/run.ts'
import { startClient } from './clients.ts'
import { now, type Outcome } from './outcome.ts'
import type { Scenario } from './scenario.ts'

/** A line that the app wrote. */
export interface AppEvent {
  readonly at: number
  readonly what: string
  readonly id?: string
  readonly index?: number
  readonly pid?: number
  readonly code?: number | null
  readonly signal?: string | null
  readonly bytes?: number
  readonly report?: ShutdownReport
  /** The time that a hook gets. */
  readonly deadline?: number
  /** Whether `isShuttingDown()` and `shutdownSignal()` are right. */
  readonly knows?: boolean
}

/** Everything that was observed in a run. */
export interface Observation {
  readonly code: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
  /** When each trigger was sent, or was due in the app; undefined if the process had ended before. */
  readonly triggered: readonly (number | undefined)[]
  readonly endedAt: number
  /** The process did not end, and had to be killed. */
  readonly isKilled: boolean
  readonly events: readonly AppEvent[]
  readonly clients: readonly (readonly Outcome[])[]
  /** Children that were still there after the end; unknown as PID 1. */
  readonly survivors: readonly number[]
}

const app = process.env['PID1_SOAK_APP'] ?? fileURLToPath(new URL('app.js', import.meta.url))
const patienceMs = 6000

export async function play(scenario: Scenario): Promise<Observation> {
  const folder = mkdtempSync(join(tmpdir(), 'soak-'))
  const stops: (() => void)[] = []
  try {
    return await playIn(folder, scenario, { after: (stop) => void stops.push(stop) })
  } finally {
    stops.forEach((stop) => stop())
    rmSync(folder, { recursive: true, force: true })
  }
}

async function playIn(folder: string, scenario: Scenario, t: { after(stop: () => void): void }): Promise<Observation> {
  const file = join(folder, 'scenario.json')
  const log = join(folder, 'events')
  writeFileSync(file, JSON.stringify(scenario))
  const nodeArgs = scenario.addons ? [] : ['--no-addons']
  const run = start(t, '', { pid1: scenario.pid1, command: [process.execPath, ...nodeArgs, app, file, log] })
  const ports = JSON.parse((await run.line(/^ready (.*)$/m))[1] ?? '') as number[]
  const clients = scenario.clients.flatMap((client) => {
    const at = Math.min(client.server, ports.length - 1)
    const [server, port] = [scenario.servers[at], ports[at]]
    return server === undefined || port === undefined ? [] : [startClient(client, server, port)]
  })
  await Promise.all(clients.map(({ ready }) => ready))

  const sent = new Map<number, number>()
  const first = Math.min(...scenario.triggers.map(({ atMs }) => atMs))
  run.stdin.write('go\n')
  setTimeout(() => clients.forEach((client) => client.go()), first)
  for (const [index, trigger] of scenario.triggers.entries()) {
    if (trigger.does !== 'signal') continue
    setTimeout(() => {
      const at = now()
      if (sendSignal(run, trigger.signal)) sent.set(index, at)
    }, trigger.atMs)
  }
  let isKilled = false
  const limit = setTimeout(() => {
    isKilled = true
    sendSignal(run, 'SIGKILL')
  }, scenario.options.gracePeriodMs + patienceMs)
  const ended = await run.ended
  const endedAt = now()
  clearTimeout(limit)
  const events = readEvents(log)
  const outcomes = await Promise.all(clients.map((client) => Promise.race([client.outcomes, giveUp()])))
  const survivors = scenario.pid1 ? [] : events.flatMap(({ pid }) => (pid !== undefined && kill(pid) ? [pid] : []))
  const inApp = events.filter(({ what }) => what === 'trigger')
  const triggered = scenario.triggers.map((_, at) => sent.get(at) ?? inApp.find(({ index }) => index === at)?.at)
  const { code, signal, stdout, stderr } = ended
  return { code, signal, stdout, stderr, triggered, endedAt, isKilled, events, clients: outcomes, survivors }
}

function sendSignal(run: Run, signal: NodeJS.Signals): boolean {
  try {
    run.signal(signal)
    return true
  } catch {
    return false // it has already exited
  }
}

/** A dropped SYN is sent again after a second, and is refused then. */
async function giveUp(): Promise<Outcome[]> {
  await wait(4000, undefined, { ref: false })
  return [{ sentAt: 0, endedAt: now(), how: 'lost', detail: 'the client hears nothing', idleMs: 0 }]
}

/** True if it was there. */
function kill(pid: number): boolean {
  try {
    // The pid of a zombie that waits for its parent's end can be signalled too.
    const isZombie = /^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    if (!isZombie) process.kill(pid, 'SIGKILL')
    return !isZombie
  } catch {
    return false
  }
}

function readEvents(log: string): AppEvent[] {
  return readFileSync(log, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as AppEvent)
}
