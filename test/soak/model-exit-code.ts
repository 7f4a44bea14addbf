import { constants } from 'node:os'
import { closeMs, type Facts } from './facts.ts'
import type { Step, Trigger } from './scenario.ts'

/** The exit code is the first of the table in docs/exit-codes.md that matches. The report and the exit callbacks have the same code. */
export function checkExitCode(facts: Facts): void {
  const { seen, report } = facts
  const allowed = allowedCodes(facts)
  if (seen.code !== null && !seen.isKilled && !allowed.has(seen.code)) {
    facts.break('exit code', `${seen.code}, and not ${[...allowed].join(' or ')}`)
  }
  // If something ends the process after the report, that has its own exit code.
  if (report !== undefined && facts.forcedBy === undefined && report.exitCode !== seen.code) {
    facts.break('exit code', `the report says ${report.exitCode}, the process ${seen.code}`)
  }
  checkCallbacks(facts)
}

function allowedCodes(facts: Facts): Set<number> {
  const { scenario, report, forcedBy } = facts
  if (forcedBy === 'watchdog') return new Set([124])
  if (forcedBy === 'process.exit') return new Set(exitCodes(facts))
  const hooks = report?.stages.flatMap((stage) => stage.hooks) ?? []
  if (hooks.some(({ outcome }) => outcome === 'cut') || (report?.connections.cut ?? 0) > 0) {
    // After an empty loop Node keeps the exit code that the app has set.
    return new Set([124, ...(scenario.triggers[0]?.does === 'empty' ? ownCodes(facts).filter((own) => own !== 0) : [])])
  }
  const bad = badness(facts, hooks.some(({ outcome }) => outcome === 'failed')) // prettier-ignore
  const good = scenario.options.exitCode === 'signal' && report?.signal != null ? 128 + numberOf(report.signal) : 0
  const rest = bad === 'yes' ? [1] : bad === 'no' ? [good] : [1, good]
  return new Set(ownCodes(facts).flatMap((own) => (own === 0 ? rest : [own])))
}

const numberOf = (signal: string): number => constants.signals[signal as NodeJS.Signals]

/** Whether there was a failure that makes the code 1. An error in the children stage or later may be too late for that. */
function badness(facts: Facts, hasFailed: boolean): 'yes' | 'no' | 'maybe' {
  if (hasFailed || [...facts.hooks.keys()].some((id) => facts.isTooLate(id))) return 'yes'
  const inStep = facts.events('uncaught').map(({ at, id }) => ({ at, isEarly: !isFlush(facts, id) }))
  const triggers = facts.triggers.filter(
    (trigger) =>
      trigger.does === 'throw' ||
      trigger.does === 'reject' ||
      (trigger.does === 'shutdown' && trigger.with === 'error'),
  )
  const endOfCleanup = cleanupIsOverAt(facts)
  const byTrigger = triggers.map(({ at }) => ({ at, isEarly: at === facts.begunAt || at < endOfCleanup - closeMs }))
  const errors = [...inStep, ...byTrigger, ...inHooks(facts)]
  if (errors.some(({ isEarly }) => isEarly)) return 'yes'
  return errors.length > 0 ? 'maybe' : 'no'
}

/** Hooks that call shutdown() with an error. */
function inHooks(facts: Facts): { at: number; isEarly: boolean }[] {
  return [...facts.hooks.values()].flatMap((hook) => {
    const start = facts.event('start', hook.id)
    const calls = hook.steps.some((step) => step.does === 'shutdown' && step.with === 'error')
    if (start === undefined || !calls) return []
    // It is certain only if the hook got as far as that.
    return [{ at: start.at, isEarly: facts.event('end', hook.id) !== undefined && !isFlush(facts, hook.id) }]
  })
}

function isFlush(facts: Facts, id: string | undefined): boolean {
  const at = facts.report?.stages.findIndex(({ hooks }) => hooks.some(({ name }) => name === id)) ?? -1
  const name = facts.report?.stages[at]?.name
  return name !== 'intake' && name !== 'cleanup'
}

/** When the cleanup stage was over; the beginning of the shutdown if no stage has run. */
function cleanupIsOverAt(facts: Facts): number {
  const { report, begunAt } = facts
  const upper =
    report?.stages.filter(({ name }) => name !== 'children' && name !== 'flush' && name !== 'sidecars') ?? []
  return begunAt + upper.reduce((sum, { durationMs }) => sum + durationMs, 0)
}

/** The exit codes that the app set, each of which may be the last one; 0 for none. */
function ownCodes(facts: Facts): number[] {
  const starts = facts.triggers.filter(({ does, at }) => does !== 'setExitCode' && at <= facts.begunAt + closeMs)
  const codeOf = (step: Step | Trigger) =>
    step.does === 'shutdown' && typeof step.with === 'number' ? [step.with] : []
  const byShutdown = starts.flatMap(codeOf)
  if (starts.length === 1 && byShutdown.some((code) => code !== 0)) return byShutdown
  const sets = [...facts.events('setExitCode'), ...facts.triggers.filter(({ does }) => does === 'setExitCode')]
    .map((set) => ({ at: set.at, code: ('code' in set ? set.code : undefined) ?? 0 }))
    .toSorted((a, b) => a.at - b.at)
  // If one is set while the exit code is being decided, that one or the one before it may be the last.
  const decidedAt = (facts.events('report')[0]?.at ?? facts.seen.endedAt) - closeMs
  const bySet = sets.filter((_, index) => (sets[index + 1]?.at ?? Infinity) >= decidedAt).map(({ code }) => code)
  if ((sets[0]?.at ?? Infinity) >= decidedAt) bySet.push(0)
  // The code of a further shutdown() during a shutdown may count or not.
  const steps = [...facts.hooks.values()].flatMap((hook) => hook.steps)
  const maybe = [...steps, ...facts.triggers.filter((trigger) => !starts.includes(trigger))].flatMap(codeOf)
  return [...bySet, ...byShutdown, ...maybe]
}

function exitCodes(facts: Facts): number[] {
  const byHook = facts.events('processExit').map(({ code }) => code ?? 0)
  const byTrigger = facts.triggers.flatMap((trigger) => (trigger.does === 'exit' ? [trigger.code] : []))
  return [...byHook, ...byTrigger]
}

/** Each exit callback runs exactly once, with the exit code, except after SIGKILL and the watchdog. */
function checkCallbacks(facts: Facts): void {
  const { scenario, seen, forcedBy } = facts
  if (seen.isKilled || forcedBy === 'watchdog') return
  const ran = facts.events('exit')
  for (const index of scenario.exitCallbacks.keys()) {
    const count = ran.filter((event) => event.index === index).length
    if (count !== 1) facts.break('exit callbacks once', `callback ${index} ran ${count} times`)
  }
  for (const { code, signal } of ran) {
    if (code !== seen.code || signal !== null) facts.break('exit callbacks once', `got ${code} ${signal}`)
  }
}
