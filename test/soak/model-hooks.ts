import { closeMs, type Facts, lateMs, slackMs, stages } from './facts.ts'
import type { Hook } from './scenario.ts'

/** Every hook runs once, in the promised order, with the outcome that follows from its time. */
export function checkHooks(facts: Facts): void {
  for (const hook of facts.hooks.values()) {
    checkOnce(facts, hook)
    checkOutcome(facts, hook)
    checkContext(facts, hook)
  }
  const early = facts.scenario.hooks.filter(({ id }) => facts.event('start', id) !== undefined)
  checkStageOrder(facts, early)
  checkAllAtOnce(
    facts,
    early.filter((hook) => stageOf(hook) === 'intake'),
  )
  for (const stage of ['cleanup', 'flush'] as const) {
    const hooks = facts.scenario.hooks.filter((hook) => stageOf(hook) === stage)
    checkTurns(facts, hooks.toReversed())
  }
}

const stageOf = (hook: Hook) => hook.stage ?? 'cleanup'

function checkOnce(facts: Facts, { id }: Hook): void {
  const starts = facts.events('start').filter((event) => event.id === id)
  const reports = facts.report?.stages.flatMap(({ hooks }) => hooks).filter(({ name }) => name === id) ?? []
  if (starts.length > 1) facts.break('every hook once', `${id} ran ${starts.length} times`)
  if (reports.length > 1) facts.break('every hook once', `${id} is ${reports.length} times in the report`)
  const start = starts[0]
  const unregistered = facts.event('unregistered', id)
  if (start === undefined) {
    const isWanted = facts.event('registered', id) !== undefined && unregistered === undefined
    if (isWanted && facts.forcedBy === undefined && !facts.isTooLate(id))
      facts.break('every hook once', `${id} did not run`)
  } else {
    if (unregistered !== undefined && unregistered.at < start.at)
      facts.break('every hook once', `${id} ran unregistered`)
    if (facts.report !== undefined && reports.length === 0) facts.break('every hook once', `${id} is not in the report`)
  }
}

/** When the hook must be cut: the earliest and the latest moment that the promises allow. */
function cutOf(facts: Facts, hook: Hook): { from: number; to: number } {
  const start = facts.event('start', hook.id)?.at ?? 0
  const own = hook.timeoutMs === undefined ? Infinity : start + hook.timeoutMs
  const { from, to } = stageEnd(facts, hook)
  return { from: Math.min(own, from), to: Math.min(own, to) }
}

/** A stage may use all the time that later stages do not reserve: a fifth for cleanup, a tenth, at most a second, for each other. */
function stageEnd(facts: Facts, hook: Hook): { from: number; to: number } {
  const { scenario, deadline, wholeMs } = facts
  const tenthMs = Math.min(wholeMs / 10, 1000)
  const stage = stages.indexOf(stageOf(hook))
  const isEarly = scenario.hooks.includes(hook)
  const unregistered = new Set(facts.events('unregistered').map(({ id }) => id))
  const has = (name: string) => scenario.hooks.some((other) => stageOf(other) === name && !unregistered.has(other.id))
  const cleanupMs = stage < 1 ? wholeMs / 5 : 0
  const flushMs = stage < 2 ? tenthMs : 0
  const childrenMs = stage < 2 ? tenthMs : 0
  const kept =
    (has('cleanup') && has('flush') ? cleanupMs + flushMs : 0) ||
    (has('cleanup') ? cleanupMs : 0) ||
    (has('flush') ? flushMs : 0)
  // Whether the children's stages have work to do may change until they begin. A late hook runs in the current stage.
  const from = deadline - cleanupMs - flushMs - childrenMs - tenthMs
  return { from: isEarly ? from : Math.min(from, deadline - wholeMs), to: isEarly ? deadline - kept : deadline }
}

function checkOutcome(facts: Facts, hook: Hook): void {
  const report = facts.hookReport(hook.id)
  const start = facts.event('start', hook.id)?.at
  if (report === undefined || start === undefined) return
  const cut = cutOf(facts, hook)
  const endedAt = facts.endOf(hook.id)
  const failed = facts.event('throw', hook.id) !== undefined
  const own = failed ? 'failed' : 'done'
  // While the loop is blocked no timer runs, so it is not known what would have happened first.
  const latest = facts.freeAt(cut.to) + lateMs
  if (report.outcome === 'cut') {
    if (endedAt !== undefined && endedAt < cut.from - closeMs) {
      facts.break('outcome', `${hook.id} was ${own} after ${ms(endedAt - start)}, and is reported as cut`, true)
    }
    const at = start + report.durationMs
    if (at < cut.from - closeMs) facts.break('cut in time', `${hook.id} was cut ${ms(cut.from - at)} too early`)
    if (at > latest) facts.break('cut in time', `${hook.id} was cut ${ms(at - latest + lateMs)} late`, true)
  } else {
    if (report.outcome !== own) facts.break('outcome', `${hook.id} is reported as ${report.outcome}, and was ${own}`)
    if (endedAt === undefined) facts.break('outcome', `${hook.id} is reported as ${report.outcome}, and never ended`)
    else if (endedAt > latest) {
      facts.break(
        'outcome',
        `${hook.id} ended ${ms(endedAt - cut.to)} after its time, and is not reported as cut`,
        true,
      )
    }
  }
}

/** The hook's own deadline, and the results of `isShuttingDown()`, `shutdownSignal()` and `remainingMs()` in it. */
function checkContext(facts: Facts, hook: Hook): void {
  const start = facts.event('start', hook.id)
  if (start === undefined) return
  const { deadline, knows } = start
  if (knows !== true) facts.break('context', `${hook.id} runs, and the library does not know of a shutdown`)
  const { from, to } = cutOf(facts, hook)
  if (deadline === undefined || deadline < from - closeMs || deadline > to + lateMs) {
    facts.break('context', `the deadline of ${hook.id} is ${ms((deadline ?? 0) - to)} later than it may be`, true)
  }
}

/**
 * When a hook was over for the hooks after it: at its own end, or when it was cut. Without a report only the bounds of the cut are known.
 */
function overAt(facts: Facts, hook: Hook, bound: 'from' | 'to' = 'from'): number {
  const report = facts.hookReport(hook.id)
  const start = facts.event('start', hook.id)?.at ?? 0
  if (report?.outcome === 'cut') return start + report.durationMs
  return Math.min(facts.endOf(hook.id) ?? Infinity, report === undefined ? cutOf(facts, hook)[bound] : Infinity)
}

function checkStageOrder(facts: Facts, hooks: readonly Hook[]): void {
  for (const later of hooks) {
    const startedAt = facts.event('start', later.id)?.at ?? 0
    for (const earlier of hooks) {
      if (stages.indexOf(stageOf(earlier)) >= stages.indexOf(stageOf(later))) continue
      const over = overAt(facts, earlier)
      // The moment of the cut is known only from the duration in the report, which ends a little later.
      if (startedAt < over - (facts.hookReport(earlier.id)?.outcome === 'done' ? 0 : closeMs)) {
        facts.break('stages in order', `${later.id} started ${ms(over - startedAt)} before ${earlier.id} was over`)
      }
    }
  }
}

/** No hook of intake waits for another one, unless the loop is blocked. */
function checkAllAtOnce(facts: Facts, hooks: readonly Hook[]): void {
  const starts = hooks.map(({ id }) => facts.event('start', id)?.at ?? 0)
  const first = Math.min(...starts)
  for (const start of starts) {
    const late = start - first - facts.blockedMs(first, start)
    if (late > lateMs) facts.break('intake all at once', `a hook started ${ms(late)} after the first one`, true)
  }
}

/** One after the other, last registered first. When a hook has used its equal share of the stage, the next one starts beside it. */
function checkTurns(facts: Facts, all: readonly Hook[]): void {
  const hooks = all.filter(({ id }) => facts.event('start', id) !== undefined)
  hooks.forEach((hook, index) => {
    const next = hooks[index + 1]
    if (next === undefined) return
    const startedAt = facts.event('start', hook.id)?.at ?? 0
    const nextAt = facts.event('start', next.id)?.at ?? 0
    if (nextAt < startedAt) return facts.break('last registered first', `${next.id} started before ${hook.id}`)
    const { from, to } = stageEnd(facts, hook)
    // Hooks that are registered meanwhile make the shares smaller, and unregistered ones make them larger.
    const shareFrom =
      Math.max(0, from - startedAt) / (all.length - index + facts.hooks.size - facts.scenario.hooks.length)
    const shareTo = Math.max(0, to - startedAt) / (hooks.length - index)
    const over = overAt(facts, hook)
    const earliest = Math.min(over, startedAt + shareFrom)
    const latest = Math.min(overAt(facts, hook, 'to'), startedAt + shareTo)
    if (nextAt < earliest - closeMs) {
      facts.break('one after the other', `${next.id} started ${ms(earliest - nextAt)} before ${hook.id} was over`)
    }
    const late = nextAt - latest - facts.blockedMs(startedAt, nextAt)
    // A late hook runs between the two.
    const isLone = facts.hooks.size === facts.scenario.hooks.length
    if (isLone && late > slackMs) facts.break('one after the other', `${next.id} started ${ms(late)} late`, true)
  })
}

const ms = (value: number): string => `${Math.round(value)} ms`
