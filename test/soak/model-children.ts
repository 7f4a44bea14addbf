import type { Facts } from './facts.ts'

/** As PID 1, or if an option says so, all descendants are ended; otherwise the supervised ones. The report counts them all. */
export function checkChildren(facts: Facts): void {
  const { scenario, seen, report, forcedBy } = facts
  const { children } = scenario
  const mode = scenario.options.children ?? (scenario.pid1 ? 'terminate' : 'leave')
  const isOurs = ({ kind, supervised }: (typeof children)[number]) => {
    if (kind === 'zombie') return false
    if (kind === 'orphan') return mode === 'terminate' && scenario.pid1
    return mode === 'terminate' || supervised !== undefined
  }
  if (forcedBy === undefined && !scenario.pid1) {
    children.forEach((child, index) => {
      const pid = seen.events.find((event) => event.what === 'child' && event.index === index)?.pid ?? -1
      if (isOurs(child) && seen.survivors.includes(pid))
        facts.break('no child is left', `child ${index} is still there`)
    })
  }
  if (report === undefined || forcedBy !== undefined) return
  const ours = children.filter(isOurs)
  const total = report.children.terminated + report.children.killed
  // A process that exits by itself soon after its parent may still be running.
  const dying = mode === 'terminate' ? children.filter(({ kind }) => kind === 'zombie').length : 0
  if (total < ours.length || total > ours.length + dying)
    facts.break('children are counted', `${total} in the report, and there were ${ours.length}`)
  const deaf = ours.filter(({ kind }) => kind === 'deaf').length
  if (report.children.killed < deaf)
    facts.break('children are counted', `${report.children.killed} killed of ${deaf} deaf`)
  // With almost no time left, or a tiny timeoutMs, a child may be killed before it has handled SIGTERM.
  const isHasty =
    ours.some(({ supervised }) => supervised?.timeoutMs !== undefined) || report.durationMs > timeOf(facts)
  if (report.children.killed > deaf && !isHasty) {
    facts.break('children are counted', `${report.children.killed} killed, and ${deaf} were deaf`, true)
  }
}

const timeOf = (facts: Facts): number => (facts.deadline - facts.begunAt) * 0.8
