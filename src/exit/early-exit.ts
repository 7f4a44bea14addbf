import { listOf, quoted, warn, warnOf } from '../log.ts'
import { isInPackage, stackFrames } from '../platform/call-site.ts'
import { isWorker } from '../platform/this-process.ts'
import { type Running, state, waitingHooks } from '../state.ts'
import { decideExitCode, toExitCode } from './exit-code.ts'
import { guardExit, isExitCalled, isExitingNaturally } from './exit.ts'
import { reportOf } from './make-report.ts'
import { summarizeEnd } from './summary.ts'
import { unfinishedHooks } from './unfinished-hooks.ts'

/** On exit: reports the hooks that did not run, and makes sure that nothing delays the exit. Runs before listeners that throw. */
export function listenForExit(): void {
  if (isWorker()) return
  process.prependListener('exit', (code) => {
    const { running } = state
    if (running === undefined && !isExitCalled()) warnOfExitWithoutShutdown(code)
    if (running?.over === false) {
      if (running.isCallingListeners || state.unaware === 'package manager') endByListener(running, code)
      else warnOfExitDuringShutdown(running, code)
    }
    // A 'beforeExit' listener that calls process.exit(0) does not make a failure good.
    if (running?.over === true && !isExitCalled() && !isExitingNaturally() && toExitCode(code) === 0) {
      process.exitCode = decideExitCode(running)
    }
    if (isExitCalled() || running !== undefined) guardExit(running)
  })
}

/**
 * `process.exit` outside of a shutdown runs no hook. Only the app's own call is reported: test runners and the like exit in this way
 * when all is done.
 */
function warnOfExitWithoutShutdown(code: number): void {
  const hooks = waitingHooks()
  if (hooks.length === 0 || state.options.exit === false || state.unaware !== undefined) return
  const caller = callerOfExit()
  if (caller === undefined || caller.includes('node:') || isInPackage(caller)) return
  const names = listOf(hooks, ({ name }) => quoted(name))
  warn(
    `process.exit(${code}) was called without a shutdown, ${caller}; not run: ${names}. Call shutdown({ exitCode: ${code} }) instead`,
  )
}

/**
 * An app may call `process.exit` during a shutdown. Its code wins. But where the event loop ran empty, because what the shutdown waits
 * for never comes (fake timers that were installed before this package was loaded), the exit is a failure.
 */
function warnOfExitDuringShutdown(running: Running, code: number): void {
  const unfinished = unfinishedHooks(running)
  const caller = callerOfExit()
  if (caller === undefined && code === 0) process.exitCode = 1
  if (caller === undefined) {
    const left = unfinished === '' ? `the stage ${running.stages.at(-1)?.name}` : unfinished
    warn(
      `the event loop ran empty during the shutdown, so Node ended the process; not finished: ${left}. ` +
        'What the shutdown waits for does not keep the event loop alive',
    )
  } else if (unfinished !== '') {
    warn(
      `process.exit(${code}) was called during the shutdown, ${caller}; not finished: ${unfinished}. ` +
        (state.unaware === undefined
          ? `Remove the call, or call shutdown({ exitCode: ${code} }) instead`
          : 'Remove the call'),
    )
  }
}

/**
 * A listener that has waited for the end of the stage flush exits. Nothing of ours is left to do, and its code is kept, but 0 does not
 * make a failure good.
 */
function endByListener(running: Running, code: number): void {
  running.over = true
  const exitCode = toExitCode(code) || decideExitCode(running)
  process.exitCode = exitCode
  const report = { ...reportOf(running), exitCode }
  try {
    state.options.onReport?.(report)
  } catch (error) {
    warnOf('onReport failed', error)
  }
  summarizeEnd(report)
}

/** `process.exit` emits 'exit', so its caller is on the stack. */
function callerOfExit(): string | undefined {
  const frames = stackFrames(callerOfExit)
  const exit = frames.findLastIndex((frame) => /^at process\.(exit|reallyExit) /.test(frame))
  return exit === -1 ? undefined : (frames[exit + 1] ?? 'by nobody on the stack')
}
