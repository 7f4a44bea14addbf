import { constants } from 'node:os'
import { onExit as atExit, signals } from 'signal-exit'
import { isWorker } from './environment.ts'
import { closeDeadTerminals, complain, complainOf, note } from './log.ts'
import { native } from './native.ts'
import { expectThat, isDisabled } from './options.ts'
import type { HookReport } from './report.ts'
import { noteRegistration, type Running, state, undo, type Unregister } from './state.ts'

/** What is called at the end, synchronously: with the exit code, or the signal that ended the process. */
export type ExitCallback = (code: number | null, signal: NodeJS.Signals | null) => void

export function onExit(callback: ExitCallback): Unregister {
  expectThat(typeof callback === 'function', 'the callback', 'a function', callback)
  if (isDisabled()) return undo(() => {})
  noteRegistration()
  leaveAlone()
  return undo(
    atExit((code, signal) => {
      try {
        callback(code ?? null, signal)
      } catch (error) {
        // Thrown out of an 'exit' event it would change the exit code.
        complainOf('an onExit callback failed', error)
      }
      // signal-exit would take `true` as a wish to stay alive.
      return undefined
    }),
  )
}

/** The exit code, by the first row that fits. */
export function decideExitCode(running: Running): number {
  const { cause, interactive } = running
  const own = cause.exitCode ?? exitCodeOfApp()
  if (outcomes(running).includes('cut')) return 124
  if (own !== 0) return own
  if (running.failed || outcomes(running).includes('failed')) return 1
  if (cause.signal === 'SIGINT' && interactive) return 130
  if (cause.signal !== undefined && state.options.exitCode === 'signal') return 128 + constants.signals[cause.signal]
  return 0
}

/** The code that the app has set for its end; 0 where it has none. */
export function exitCodeOfApp(): number {
  return Number(process.exitCode ?? 0) || 0
}

/** Ends the process. Not by raising the signal again: the kernel ignores that for PID 1. */
export function leave(code: number): never {
  leaving = true
  if (state.running !== undefined) state.running.over = true
  note('exit', 'leaving with %d', code)
  process.once('exit', closeDeadTerminals)
  process.exit(code)
}

let leaving = false

/** The end of a process that shuts down: nothing may hold it up, and what it has cost is said. */
export function listenForExit(): void {
  if (isWorker()) return
  process.on('exit', (code) => {
    const { running } = state
    if (running?.over === false) complainOfMissed(running, code)
    if (leaving || running !== undefined) leaveInTime(running, code)
  })
}

/** An app may call `process.exit` in the middle of a shutdown. Its code wins. */
function complainOfMissed(running: Running, code: number): void {
  const missed = [...unfinishedHooks(running), ...[...state.hooks].map(({ name }) => name)]
  if (missed.length === 0) return
  const list = missed.map((name) => `"${name}"`).join(', ')
  complain(`process.exit(${code}) was called during the shutdown, ${callerOfExit()}; not finished: ${list}`)
}

/**
 * `process.exit` joins the thread pool and the workers, and so waits for a DNS look-up or a dead file system. Needs
 * `process.reallyExit`, which it calls when the last listener has returned; where that is missing the watchdog has to do. It is
 * not called where the loop ran empty: then nothing has asked Node to leave, and it takes the time that it always takes.
 */
function leaveInTime(running: Running | undefined, code: number): void {
  const part = native()
  const { reallyExit } = process as { reallyExit?: (code?: number | string) => never }
  if (part === undefined || reallyExit === undefined) return
  Object.assign(process, {
    reallyExit: (finalCode: number | string = code) => {
      part.leaveAfter(Number(finalCode) & 0xff, msToLeave(running))
      return reallyExit.call(process, finalCode)
    },
  })
}

const leaveMs = 250
// At the deadline a process that nothing holds still leaves by itself.
const leastLeaveMs = 20

function msToLeave(running: Running | undefined): number {
  if (running === undefined) return leaveMs
  const { deadline, watchdogAt } = running.clock
  // A debugger is attached: a second is no deadline, but enough.
  if (deadline === Infinity) return 1000
  const ms = writesProfile() ? watchdogAt - performance.now() : Math.min(leaveMs, deadline - performance.now())
  return Math.max(ms, leastLeaveMs)
}

/** Coverage and profiles are written after the last listener, and take their time. */
function writesProfile(): boolean {
  const options = [...process.execArgv, process.env['NODE_OPTIONS'] ?? ''].join(' ')
  return process.env['NODE_V8_COVERAGE'] !== undefined || /--(cpu|heap)-prof\b/.test(options)
}

export function outcomes(running: Running): HookReport['outcome'][] {
  return running.stages.flatMap(({ hooks }) => hooks.map(({ outcome }) => outcome))
}

function unfinishedHooks(running: Running): string[] {
  return running.stages.flatMap(({ hooks }) => hooks.filter(({ outcome }) => outcome === 'running').map((h) => h.name))
}

/** The 'exit' event is emitted by `process.exit` itself, so its caller is on the stack. */
function callerOfExit(): string {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 30
  const frames = (new Error('stack').stack ?? '').split('\n')
  Error.stackTraceLimit = stackTraceLimit
  const exit = frames.findLastIndex((frame) => /at process\.(exit|reallyExit) /.test(frame))
  const caller = frames[exit + 1]?.trim()
  return exit === -1 || caller === undefined ? 'by nobody on the stack' : caller
}

/**
 * signal-exit's listener would turn SIGXFSZ, which Node ignores, into an end, and the others belong to debuggers and
 * crash reporters. It reads this list when it is first used.
 */
function leaveAlone(): void {
  for (const signal of ['SIGXFSZ', 'SIGABRT', 'SIGIOT', 'SIGSYS', 'SIGTRAP'] as const) {
    const index = signals.indexOf(signal)
    if (index !== -1) signals.splice(index, 1)
  }
}
