import type { Facts } from './facts.ts'

/** Nothing on stderr after a good shutdown, otherwise one line for each problem, with the hook's name. All of stdout arrives. */
export function checkOutput(facts: Facts): void {
  const { seen, report, forcedBy } = facts
  const lines = seen.stderr.split('\n').filter((line) => line.startsWith('pid1: '))
  const hooks = report?.stages.flatMap((stage) => stage.hooks) ?? []
  const bad = hooks.filter(({ outcome }) => outcome !== 'done')
  let left = lines
  for (const { name, outcome } of bad) {
    // The line about a server says which requests were cut.
    const pattern = name.startsWith('the server ') ? /in time/ : new RegExp(`"${name}".* ${outcome}`)
    const own = left.filter((line) => line.includes(name) && pattern.test(line))
    if (own.length !== 1) facts.break('one line for each problem', `${own.length} lines say that ${name} ${outcome}`)
    left = left.filter((line) => !own.includes(line))
  }
  const others: [RegExp, boolean][] = [
    [/^pid1: ended with 124: (the event loop was blocked for \d+ ms|the time was up), /, forcedBy === 'watchdog'],
    [/^pid1: process\.exit\(-?\d*\) was called (during the shutdown|without a shutdown)/, forcedBy === 'process.exit'],
    [/"hook-\d+"/, forcedBy !== undefined && report === undefined],
    [/request|connection|did not answer in time/, (report?.connections.cut ?? 0) > 0 || forcedBy !== undefined],
    [/^pid1: after the event loop ran empty, the hooks left something/, facts.isHeld],
    [/whose clients stopped sending or reading/, facts.scenario.clients.some(({ kind }) => kind === 'upload')],
    [/drainDelayMs/, facts.scenario.options.drainDelayMs !== undefined],
  ]
  for (const [pattern, isExpected] of others) {
    if (isExpected) left = left.filter((line) => !pattern.test(line))
  }
  left = left.filter((line) => ![...facts.hooks.keys()].some((id) => line.includes(`"${id}"`) && facts.isTooLate(id)))
  for (const [index, { does }] of facts.scenario.exitCallbacks.entries()) {
    const own = left.filter((line) => line.includes(`exit callback ${index}`))
    if (does === 'throws' && own.length !== 1 && forcedBy !== 'watchdog' && !seen.isKilled) {
      facts.break('one line for each problem', `${own.length} lines say that exit callback ${index} failed`)
    }
    if (does === 'throws') left = left.filter((line) => !own.includes(line))
  }
  for (const line of left) facts.break('nothing without a problem', line)
  checkForeign(facts)
  checkStdout(facts)
}

/** Lines that are not ours: an uncaught error, or further lines of an error. */
function checkForeign(facts: Facts): void {
  const { seen, scenario } = facts
  if (seen.stderr === '' || seen.stderr.startsWith('pid1: ')) return
  const hasUncaught =
    facts.events('uncaught').length > 0 ||
    scenario.triggers.some(({ does }) => does === 'throw' || does === 'reject' || does === 'shutdown') ||
    [...facts.hooks.values()].some(({ steps }) => steps.some(({ does }) => does === 'shutdown'))
  if (!hasUncaught) facts.break('nothing without a problem', seen.stderr.slice(0, 300))
}

function checkStdout(facts: Facts): void {
  if (facts.forcedBy !== undefined) return
  const wanted = facts.events('print').reduce((sum, { bytes }) => sum + (bytes ?? 0), 0)
  const ready = seenBytes(facts.seen.stdout)
  if (ready !== wanted) facts.break('all of stdout', `${ready} of ${wanted} bytes arrived`)
}

function seenBytes(stdout: string): number {
  return stdout.length - (stdout.indexOf('\n') + 1)
}
