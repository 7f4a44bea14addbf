import { constants } from 'node:os'
import { debug, listOf, safeName, warn, warnOf } from '../log.ts'
import { native } from '../native.ts'
import { type Running, state } from '../state.ts'
import { clearTimeout, performance, setTimeout } from '../time/timers.ts'
import { addedSinceEmpty } from './before-exit.ts'
import { isPid1 } from '../platform/this-process.ts'
import { exitCodeOfApp, exitCodeOfSignal, toExitCode } from './exit-code.ts'
import { closeDeadTerminals } from './output.ts'
import { printUncaught } from './print-uncaught.ts'

let exitCalled = false
let exitingNaturally = false
let exitGuarded = false

// How long `process.exit` may take, in milliseconds.
const exitMs = 250
// At the deadline too an exit that nothing delays needs this much.
const leastExitMs = 20
// While a debugger is attached there is no deadline, but `process.exit` must return all the same.
const debuggedExitMs = 1000

/** Ends the process. Not by raising the signal again: the kernel ignores that for PID 1. */
export function exit(code: number): void {
  exitCalled = true
  if (state.running !== undefined) state.running.over = true
  debug('exit', 'the process exits with %d', code)
  process.once('exit', closeDeadTerminals)
  try {
    process.exit(code)
  } catch (error) {
    if (hasExitBegun()) return finishExit(error)
    warnOf('process.exit failed', error)
  }
  // The app has replaced process.exit by a function that returns or throws. It may still exit later.
  setTimeout(() => exitWithoutProcessExit(code), exitMs)
}

/**
 * After an empty event loop Node exits by itself, with its own code: a failing test file, or an unsettled await, remains a failure.
 * But what a hook has left running keeps the process alive until the deadline only.
 */
export function exitNaturally({ clock: { deadline } }: Running, code: number): void {
  exitingNaturally = true
  if (code !== 0) process.exitCode = code
  if (deadline === Infinity) return
  const timer = setTimeout(
    () => {
      const left = listOf(addedSinceEmpty(), safeName)
      warn(
        `after the event loop ran empty, the hooks left something that kept the process alive until the deadline: ${left}. ` +
          'Close it, or call its unref()',
      )
      exit(exitCodeOfApp())
    },
    Math.max(deadline - performance.now(), leastExitMs),
  ).unref()
  process.once('beforeExit', () => clearTimeout(timer))
}

/** Whether `exit` was called. */
export function isExitCalled(): boolean {
  return exitCalled
}

/** Whether the hooks of an empty event loop have run, so that Node exits by itself. */
export function isExitingNaturally(): boolean {
  return exitingNaturally
}

/**
 * Whether the 'exit' event was emitted. Node emits it once, so `process.exit` then ends the process at once. Needs
 * `process._exiting`; where it is missing, an error in an 'exit' listener is treated like an earlier one: the listeners may be called
 * twice, and after the app's own `process.exit` the hooks run. The code is 1 all the same.
 */
export function hasExitBegun(): boolean {
  return Reflect.get(process, '_exiting') === true
}

/** An 'exit' listener has thrown. As Node does, prints the error, and makes the exit code 1 where it would have been 0. */
export function finishExit(error: unknown): void {
  printUncaught(error)
  guardExit(state.running)
  process.exitCode = exitCodeOfApp() || 1
  reallyExit(exitCodeOfApp())
}

/**
 * Limits the time of `process.exit`, which joins the thread pool and the workers, and so waits for a DNS look-up or a dead file
 * system. Not called where the event loop ran empty: nothing has asked Node to exit then, and Node exits as it normally would.
 *
 * Needs `process.reallyExit`, which `process.exit` calls when the last listener has returned; where it is missing, the watchdog
 * ends a process that does not exit, with 124.
 */
export function guardExit(running: Running | undefined): void {
  const { reallyExit: original } = process as { reallyExit?: (code: number) => never }
  if (exitGuarded || original === undefined) return
  exitGuarded = true
  Object.assign(process, {
    reallyExit: (code: unknown) => {
      native()?.exitWithin(toExitCode(code), msToExit(running))
      dieOfRaised(running, toExitCode(code))
      return original.call(process, toExitCode(code))
    },
  })
}

/** An app that has raised its signal again dies of it, as it would have without this package. The kernel does not let PID 1 die so. */
function dieOfRaised(running: Running | undefined, code: number): void {
  if (running?.raised === undefined || isPid1() || code !== exitCodeOfSignal(running.raised)) return
  native()?.dieOf(constants.signals[running.raised])
}

function msToExit(running: Running | undefined): number {
  if (running === undefined) return exitMs
  const { deadline, watchdogAt } = running.clock
  if (deadline === Infinity) return debuggedExitMs
  const ms = writesProfile() ? watchdogAt - performance.now() : Math.min(exitMs, deadline - performance.now())
  return Math.max(ms, leastExitMs)
}

/** Node writes coverage and profiles after the last 'exit' listener, and needs time for it. */
function writesProfile(): boolean {
  const options = [...process.execArgv, process.env['NODE_OPTIONS'] ?? ''].join(' ')
  return process.env['NODE_V8_COVERAGE'] !== undefined || /--(cpu|heap)-prof\b/.test(options)
}

function exitWithoutProcessExit(code: number): void {
  warn('process.exit was replaced by a function that does not end the process, so the process is ended without it')
  process.exitCode = code
  try {
    process.emit('exit', code)
  } catch (error) {
    return finishExit(error)
  }
  reallyExit(code)
}

/**
 * Needs `process.reallyExit`, which `process.exit` calls; where it is missing, the watchdog ends the process with 124, and exit
 * callbacks are not called after a listener that throws. After an empty event loop Node exits by itself, with `process.exitCode`.
 */
function reallyExit(code: number): void {
  const node = process as { reallyExit?: (code: number) => never }
  node.reallyExit?.(code)
}
