import { counted, listOf, safeName, warn } from '../log.ts'
import type { ShutdownReport } from '../report.ts'
import { type Running, state } from '../state.ts'

/** With `configure({ summary: true })`: the line when a shutdown begins. */
export function summarizeStart({ cause, clock }: Running): void {
  if (state.options.summary !== true) return
  const wholeMs = clock.deadline - clock.startedAt
  const limit =
    wholeMs === Infinity ? 'without a deadline, because a debugger is attached' : `${Math.round(wholeMs)} ms at most`
  warn(`the shutdown begins: ${safeName(cause.reason)}; ${limit}`)
}

/** The line when it is over. */
export function summarizeEnd({ durationMs, connections, children, exitCode }: ShutdownReport): void {
  if (state.options.summary !== true) return
  const counts = [
    countOf(connections.drained, 'connection', 'drained'),
    countOf(connections.ended, 'connection', 'ended'),
    countOf(connections.cut, 'request', 'cut'),
    countOf(children.terminated, 'child process', 'ended'),
    countOf(children.killed, 'child process', 'killed'),
  ].flat()
  const what = counts.length === 0 ? '' : `: ${listOf(counts, (text) => text)}`
  warn(`the shutdown is over after ${Math.round(durationMs)} ms, with exit code ${exitCode}${what}`)
}

function countOf(number: number, noun: string, how: string): string[] {
  return number === 0 ? [] : [`${counted(number, noun)} ${how}`]
}
