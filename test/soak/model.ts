import { type Broken, closeMs, Facts, lateMs, slackMs } from './facts.ts'
import { checkChildren } from './model-children.ts'
import { checkClients } from './model-clients.ts'
import { checkExitCode } from './model-exit-code.ts'
import { checkHooks } from './model-hooks.ts'
import { checkOutput } from './model-output.ts'
import type { Observation } from './play.ts'
import type { Scenario } from './scenario.ts'

/**
 * Every promise of the documentation that the run broke. The model is written from the documentation alone, and takes nothing from `src`.
 * If two outcomes are both right, because two things happened at about the same time, it accepts both.
 */
export function check(scenario: Scenario, seen: Observation): Broken[] {
  const facts = new Facts(scenario, seen)
  checkEnd(facts)
  checkHooks(facts)
  checkExitCode(facts)
  checkOutput(facts)
  checkClients(facts)
  checkChildren(facts)
  return facts.broken
}

function checkEnd(facts: Facts): void {
  const { scenario, seen, report } = facts
  if (seen.isKilled) facts.break('ends in time', 'it had to be killed')
  if (!seen.isKilled && seen.signal !== null) facts.break('ends by itself', `ended by ${seen.signal}`)
  const { gracePeriodMs } = scenario.options
  const ms = seen.endedAt - facts.begunAt
  // Without the native part nothing ends a blocked loop.
  const blocked = scenario.addons ? 0 : facts.blockedMs(facts.begunAt, seen.endedAt)
  if (ms > gracePeriodMs + blocked + slackMs) {
    facts.break('ends in time', `took ${Math.round(ms)} ms of ${gracePeriodMs}`, !seen.isKilled)
  }
  checkWatchdog(facts)
  if (report === undefined) {
    if (facts.forcedBy === undefined) facts.break('has a report', 'onReport was not called')
    return
  }
  if (facts.events('report').length > 1) facts.break('has a report', 'onReport was called twice')
  if (report.startedAt < facts.begunAt - closeMs || report.startedAt > facts.heardAt + lateMs) {
    facts.break('counts from the signal', `startedAt is ${Math.round(report.startedAt - facts.begunAt)} ms late`, true)
  }
  if (report.gracePeriodMs !== gracePeriodMs) facts.break('counts from the signal', `grace ${report.gracePeriodMs}`)
  const [first, second] = facts.triggers.filter(({ does }) => does !== 'setExitCode').toSorted((a, b) => a.at - b.at)
  const isLone = second === undefined || second.at > facts.freeAt(first?.at ?? 0) + lateMs
  if (first?.does === 'signal' && isLone && report.signal !== first.signal) {
    facts.break('counts from the signal', `the report says ${report.signal}, ${first.signal} came`)
  }
  const lateBy = report.deadline - report.startedAt - facts.wholeMs
  if (Math.abs(lateBy) > 5) facts.break('counts from the signal', `the deadline is ${Math.round(lateBy)} ms late`, true)
  const afterReport = seen.endedAt - (facts.events('report')[0]?.at ?? 0)
  if (afterReport > slackMs + 250 && !facts.isHeld)
    facts.break('leaves at the end', `${Math.round(afterReport)} ms after the report`, true)
}

/** The watchdog may end the process only while the loop is blocked, half a margin after the deadline. */
function checkWatchdog({ forcedBy, blocks, watchdogAt, seen, ...facts }: Facts): void {
  const over = blocks.some(({ from, to }) => from < watchdogAt + closeMs && to > watchdogAt - closeMs)
  if (forcedBy === 'watchdog' && !over) {
    facts.broken.push({ rule: 'only a blocked loop', what: 'the watchdog ended a loop that was free', soft: true })
  }
  if (forcedBy === 'watchdog' && Math.abs(seen.endedAt - watchdogAt) > slackMs) {
    const what = `the watchdog came ${Math.round(seen.endedAt - watchdogAt)} ms late`
    facts.broken.push({ rule: 'only a blocked loop', what, soft: true })
  }
}
