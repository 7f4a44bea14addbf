import { endDescendants, listenForEndOfService } from './children.ts'
import { endOfStage, startClock, toEpoch, withResolvers } from './deadline.ts'
import { clockOptions, gracePeriod, isInteractive, isPid1, isWorker } from './environment.ts'
import { decideExitCode, exitCodeOfApp, leave, listenForExit, outcomes } from './exit.ts'
import { hasWork, isInsideHook, runInTurn, runTogether } from './hooks.ts'
import { complainOf, note, printError, swallowOutputErrors } from './log.ts'
import { warnOfAbsence } from './native.ts'
import { checkOptions, checkReason, isDisabled, type Options, type StageName } from './options.ts'
import { keepReaping } from './reaper.ts'
import type { ShutdownReport } from './report.ts'
import { drainWorkersOf, watchCluster } from './servers/cluster.ts'
import { listenForConfiguredSignals, listenForSignals } from './signals.ts'
import {
  atFirstRegistration,
  type Cause,
  noteRegistration,
  reset,
  type Running,
  type RunningStage,
  state,
} from './state.ts'
import { listenForUncaught } from './uncaught.ts'
import { prepareWatchdog, startWatchdog, stopWatchdog, tellStep } from './watchdog.ts'

/** The order of a shutdown. */
const stages: readonly {
  name: StageName
  run: (stage: RunningStage, running: Running) => Promise<void>
}[] = [
  { name: 'intake', run: runTogether }, // servers drain, and hooks that stop other sources of work
  { name: 'cleanup', run: runInTurn },
  { name: 'children', run: endProcesses },
  { name: 'flush', run: runInTurn }, // logs and telemetry of all the above
  { name: 'sidecars', run: endProcesses }, // which flush may have needed
]

/** Why `shutdown` is called: a word, an error (the exit code is then 1), or both a word and a code. */
export type ShutdownReason = string | Error | { readonly reason?: string; readonly exitCode?: number }

export function shutdown(reason?: ShutdownReason): Promise<ShutdownReport> {
  const cause = causeOf(reason)
  if (isDisabled()) return Promise.resolve(reportOf(newRunning(cause)))
  noteRegistration()
  if (cause.error !== undefined && state.running === undefined) printError('Shutting down because of', cause.error)
  const running = state.running ?? begin(cause)
  return isInsideHook() ? Promise.resolve(reportOf(running)) : running.finished.promise
}

export function shutdownSignal(): AbortSignal {
  return state.abort.signal
}

export function isShuttingDown(): boolean {
  return state.running !== undefined
}

export function configure(options: Options): void {
  checkOptions(options)
  if (isDisabled()) return
  state.options = { ...state.options, ...options }
  noteRegistration()
  listenForConfiguredSignals()
  prepareWatchdog()
  keepReaping()
}

atFirstRegistration(() => {
  if (isPid1() && !isWorker()) warnOfAbsence()
  gracePeriod() // throws early, where PID1_GRACE_PERIOD cannot be understood
  listenForSignals({
    first: ({ signal, arrivedAt }) => {
      if (state.running === undefined) begin({ trigger: 'signal', reason: signal, signal, arrivedAt })
    },
    further: (signal) => onFurtherSignal(signal),
    fatal: (signal, code) => {
      note('signals', '%s ends the process, as it would have done if it were not PID 1', signal)
      leave(code)
    },
  })
  listenForUncaught({ error: onUncaughtError, emptyLoop: () => begin(now('empty event loop')) })
  listenForExit()
  watchCluster()
  listenForEndOfService((reason, exitCode) => void shutdown({ reason, exitCode }))
  prepareWatchdog()
  keepReaping()
})

/** Begins synchronously: `isShuttingDown()` is true and the signal is aborted when this returns. */
function begin(cause: Cause): Running {
  const running = newRunning(cause)
  state.running = running
  note('shutdown', 'begins: %s', cause.reason)
  state.abort.abort(cause.error ?? cause.reason)
  swallowOutputErrors()
  startWatchdog(running.clock)
  drainWorkersOf(running)
  void conduct(running)
  return running
}

async function conduct(running: Running): Promise<void> {
  for (const { name, run } of stages) {
    const stage = newStage(name)
    running.stages.push(stage)
    tellStep(stage)
    note('shutdown', '%s begins', name)
    await run(stage, running)
    stage.endedAt = performance.now()
  }
  end(running)
}

async function endProcesses(stage: RunningStage, running: Running): Promise<void> {
  await endDescendants(stage.name, running, endOfStage(running.clock, stage.name, hasWork))
  await runTogether(stage, running) // hooks that were registered too late for any stage of theirs
}

function end(running: Running): void {
  const staysAlive = state.options.exit === false || isWorker()
  const report = reportOf(running)
  running.over = true
  tellReport(report)
  if (staysAlive) {
    stopWatchdog()
    if (running.failed) process.exitCode ??= 1
    reset()
    running.finished.resolve(report)
  } else if (running.cause.trigger !== 'empty event loop' || outcomes(running).includes('cut')) {
    leave(report.exitCode)
  } else {
    stopWatchdog()
    // Node leaves by itself, with its own code: a failing test file, or an unsettled await, stays a failure.
    if (report.exitCode !== 0) process.exitCode ??= report.exitCode
  }
}

/** Platforms may send SIGTERM several times. A second Ctrl-C is a person who has waited enough. */
function onFurtherSignal(signal: NodeJS.Signals): void {
  const { running } = state
  if (running === undefined) return
  if (running.over) return leave(decideExitCode(running)) // something revived the empty loop
  if (signal === 'SIGINT' && running.firstSignal === 'SIGINT') return leave(130)
  running.firstSignal ??= signal
}

/** From children on an error changes the code no more: `execSync` throws when its child gets our SIGTERM. */
function onUncaughtError(error: unknown): void {
  const running = state.running ?? begin({ ...now('uncaught error'), error })
  running.failed ||= running.stages.every(({ name }) => name !== 'children')
  if (running.cause.error !== error) running.errors.push(error)
}

function causeOf(reason: ShutdownReason = 'shutdown()'): Cause {
  if (typeof reason === 'string') return { ...now('call'), reason }
  if (reason instanceof Error) return { ...now('call'), reason: reason.message, error: reason }
  checkReason(reason)
  const { reason: word = 'shutdown()', exitCode = 0 } = reason
  return { ...now('call'), reason: word, ...(exitCode === 0 ? {} : { exitCode }) }
}

function now(trigger: Cause['trigger']): Cause {
  return { trigger, reason: trigger, arrivedAt: performance.now() }
}

function newRunning(cause: Cause): Running {
  return {
    cause,
    clock: startClock(gracePeriod().gracePeriodMs, cause.arrivedAt, clockOptions()),
    interactive: isInteractive(),
    stages: [],
    connections: { drained: 0, ended: 0, cut: 0 },
    children: { terminated: 0, killed: 0 },
    errors: cause.error === undefined ? [] : [cause.error],
    finished: withResolvers(),
    failed: cause.error !== undefined,
    firstSignal: cause.signal,
    over: false,
  }
}

function newStage(name: StageName): RunningStage {
  return { name, startedAt: performance.now(), endedAt: undefined, hooks: [], wake: () => {} }
}

/** The report so far. */
function reportOf(running: Running): ShutdownReport {
  const { cause, clock, stages: run } = running
  const emptyLoop = cause.trigger === 'empty event loop'
  return {
    reason: cause.reason,
    signal: cause.signal ?? null,
    startedAt: toEpoch(clock.startedAt),
    durationMs: performance.now() - clock.startedAt,
    gracePeriodMs: clock.gracePeriodMs,
    deadline: toEpoch(clock.deadline),
    stages: run.map(({ name, startedAt, endedAt, hooks }) => ({
      name,
      durationMs: (endedAt ?? performance.now()) - startedAt,
      hooks: hooks.map((hook) => ({ ...hook })),
    })),
    connections: { ...running.connections },
    children: { ...running.children },
    errors: [...running.errors],
    exitCode: emptyLoop ? exitCodeOfApp() || decideExitCode(running) : decideExitCode(running),
  }
}

function tellReport(report: ShutdownReport): void {
  note('shutdown', 'report: %O', report)
  try {
    state.options.onReport?.(report)
  } catch (error) {
    complainOf('onReport failed', error)
  }
}
