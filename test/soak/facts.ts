import type { ShutdownReport } from 'pid1'
import type { AppEvent, Observation } from './play.ts'
import type { Hook, Scenario, Trigger } from './scenario.ts'

/** A promise of the documentation that a run broke. `soft`: a bound of time, which a busy machine may break too. */
export interface Broken {
  readonly rule: string
  readonly what: string
  readonly soft: boolean
}

export type HookReport = ShutdownReport['stages'][number]['hooks'][number]

/** How long a busy machine may delay a timer, a signal or the exit of a process. */
export const slackMs = 400
/** How late a busy machine may run a timer. A hook that should be cut may still end by itself in this time. */
export const lateMs = 150
/** If two events are at most this far apart, either may be the first. */
export const closeMs = 30

export const stages = ['intake', 'cleanup', 'flush'] as const

/** The times that the documentation promises and those that were observed, for the rules to compare. */
export class Facts {
  readonly scenario: Scenario
  readonly seen: Observation
  readonly broken: Broken[] = []
  readonly report: ShutdownReport | undefined
  /** Epoch milliseconds, like all times here. */
  readonly begunAt: number
  /** When the library must know of it at the latest. */
  readonly heardAt: number
  /** Between the signal and the deadline. */
  readonly wholeMs: number
  readonly deadline: number
  readonly watchdogAt: number
  readonly hooks: ReadonlyMap<string, Hook>
  readonly blocks: readonly { readonly from: number; readonly to: number }[]
  /** Something other than the last stage ended the process: what was not done by then need not be done. */
  readonly forcedBy: 'watchdog' | 'process.exit' | undefined

  constructor(scenario: Scenario, seen: Observation) {
    this.scenario = scenario
    this.seen = seen
    this.report = seen.events.find(({ what }) => what === 'report')?.report
    this.blocks = findBlocks(seen)
    this.begunAt = beginning(scenario, seen, this.report)
    const { gracePeriodMs } = scenario.options
    const marginMs = Math.min(Math.max(gracePeriodMs / 10, 250), 2000, gracePeriodMs / 2)
    // A signal is recorded when it arrives, or without the native part when the loop is free. A call of the app is known at once.
    const first = this.triggers.find(({ at }) => at === this.begunAt)
    const isNoted = first?.does === 'signal' ? scenario.addons : first?.does !== 'empty'
    // At the latest when the first hook starts, which may itself block the loop.
    const startedAt = this.events('start').map(({ at }) => at)
    this.heardAt = isNoted ? this.begunAt : Math.min(this.freeAt(this.begunAt), ...startedAt)
    const countedFrom = isNoted ? this.begunAt : Math.max(this.begunAt, this.report?.startedAt ?? this.heardAt)
    this.wholeMs = gracePeriodMs - marginMs
    this.deadline = countedFrom + this.wholeMs
    this.watchdogAt = this.deadline + marginMs / 2
    this.hooks = new Map(scenario.hooks.flatMap(withNested).map((hook) => [hook.id, hook]))
    this.forcedBy = this.#findForce()
  }

  break(rule: string, what: string, soft = false): void {
    this.broken.push({ rule, what, soft })
  }

  event(what: string, id: string): AppEvent | undefined {
    return this.seen.events.find((event) => event.what === what && event.id === id)
  }

  events(what: string): AppEvent[] {
    return this.seen.events.filter((event) => event.what === what)
  }

  hookReport(id: string): HookReport | undefined {
    return this.report?.stages.flatMap(({ hooks }) => hooks).find(({ name }) => name === id)
  }

  /** When the hook ended by itself, with success or failure. */
  endOf(id: string): number | undefined {
    return (this.event('end', id) ?? this.event('throw', id))?.at
  }

  /** The first moment from then on at which a timer can run, because the loop is not blocked. */
  freeAt(time: number): number {
    return this.blocks.reduce((free, { from, to }) => (from - closeMs < free && free < to ? to : free), time)
  }

  /** How long the loop was blocked in this time. */
  blockedMs(from: number, to: number): number {
    return this.blocks.reduce((sum, block) => sum + Math.max(0, Math.min(to, block.to) - Math.max(from, block.from)), 0)
  }

  /** The triggers before the end, with their times. */
  get triggers(): (Trigger & { readonly at: number })[] {
    return this.scenario.triggers.flatMap((trigger, index) => {
      const at = this.seen.triggered[index]
      return at === undefined ? [] : [{ ...trigger, at }]
    })
  }

  /** Hooks that were registered when the time was up: they do not run, and a line says so. */
  isTooLate(id: string): boolean {
    const at = this.event('registered', id)?.at ?? 0
    const isSaid = this.seen.stderr.includes(`pid1: the hook "${id}" was registered too late`)
    return isSaid && at > this.deadline - closeMs
  }

  /** Something that a hook has started keeps an empty loop alive until the deadline. */
  get isHeld(): boolean {
    const leaves = [...this.hooks.values()].some(({ steps }) => steps.some(({ does }) => does === 'leaveTimer'))
    return leaves && this.scenario.triggers[0]?.does === 'empty'
  }

  #findForce(): Facts['forcedBy'] {
    const { scenario, seen } = this
    if (/^pid1: ended with 124: /m.test(seen.stderr)) return 'watchdog'
    if (this.events('processExit').length > 0) return 'process.exit'
    if (scenario.triggers.some(({ does }, index) => does === 'exit' && seen.triggered[index] !== undefined))
      return 'process.exit'
    return undefined
  }
}

/** The moment from which the time counts: that of the first trigger that starts a shutdown. */
function beginning(scenario: Scenario, seen: Observation, report: ShutdownReport | undefined): number {
  // Only Node knows when the loop is empty.
  if (scenario.triggers[0]?.does === 'empty' && report !== undefined) return report.startedAt
  const begins = scenario.triggers.map(({ does }) => does !== 'setExitCode' && does !== 'exit')
  return Math.min(...seen.triggered.flatMap((at, index) => (at !== undefined && begins[index] === true ? [at] : [])))
}

function withNested(hook: Hook): Hook[] {
  return [hook, ...hook.steps.flatMap((step) => (step.does === 'register' ? withNested(step.hook) : []))]
}

/** If a block has no end, the process ended during it. */
function findBlocks({ events, endedAt }: Observation): { from: number; to: number }[] {
  return events.flatMap(({ what, at, id }, index) => {
    if (what !== 'blocks') return []
    const end = events.slice(index).find((event) => event.what === 'unblocks' && event.id === id)
    return [{ from: at, to: end?.at ?? endedAt }]
  }) // in the order of time, because only one can block
}
