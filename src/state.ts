import type { ChildProcess } from 'node:child_process'
import type { Hook } from './hook.ts'
import type { ConfigureOptions, Given, HookOptions, SuperviseOptions } from './options.ts'
import type { HookReport, ShutdownReport } from './report.ts'
import type { StageName } from './stages.ts'
import type { Clock } from './time/deadline.ts'
import type { Resolvable } from './time/wait.ts'

/** A hook that waits for its stage. */
export interface RegisteredHook extends Omit<HookOptions, 'stage'> {
  readonly name: string
  readonly hook: Hook
  readonly stage: StageName
  /** The drain of a server: it enforces its own deadline, so that requests still get an answer when they are cut. */
  readonly endsItself?: boolean
  /** A listener of other code: its errors are uncaught ones, and it does not affect the exit code. */
  readonly isListener?: boolean
}

/** A listener of other code that has seen the signal and waits. */
export interface OtherListener {
  readonly signal: NodeJS.Signals
  /** Where it was registered. */
  readonly place: string
  readonly call: () => unknown
  /** A file under node_modules has registered it, or it was there before this package. */
  readonly isOfPackage: boolean
  readonly isRegistered: () => boolean
}

/** Why a shutdown began. */
export interface Cause {
  readonly trigger: 'signal' | 'call' | 'uncaught error' | 'empty event loop'
  readonly reason: string
  readonly signal?: NodeJS.Signals
  readonly error?: unknown
  readonly exitCode?: number
  /** A key in the terminal has sent the signal. */
  readonly fromTerminal?: boolean
  /** When the signal arrived or the call was made, as `performance.now()`. */
  readonly arrivedAt: number
}

/** A shutdown in progress. */
export interface Running {
  readonly cause: Cause
  readonly clock: Clock
  readonly interactive: boolean
  readonly stages: RunningStage[]
  readonly connections: { drained: number; ended: number; cut: number }
  readonly children: { terminated: number; killed: number }
  readonly errors: unknown[]
  /** Resolves with the report if the process stays alive, else never. */
  readonly finished: Resolvable<ShutdownReport>
  /** The exit code that the app gave to `shutdown`, if it is not 0. */
  exitCode: number | undefined
  /** An error, uncaught or given to `shutdown`, occurred early enough to affect the exit code. */
  failed: boolean
  /** One of these errors was uncaught. */
  uncaught: boolean
  /** When the first signal arrived (`performance.now()`), to tell a second Ctrl-C. */
  firstSignalAt: number | undefined
  /** The listeners that wait for the end of the stage flush, by what is registered for each, or that they have been called. */
  otherListeners: Map<object, OtherListener> | 'called'
  /** One of them may exit now: nothing else of this shutdown is left to do in its stage. */
  isCallingListeners: boolean
  /** Called when the app has ended by itself. Defined while an app that does not know this package is waited for. */
  endOfApp: (() => void) | undefined
  /** The cluster workers that have drained, and wait for what their primary does at its end. */
  readonly drainedWorkers: Set<number>
  /** Those that were called before the drain was over, because it was about to cut what they may end. */
  calledEarly: readonly OtherListener[]
  /** What the app learns at its own end, such as that a worker has ended. */
  readonly heldEvents: Set<() => void>
  /** The signal by which an app that does not know this package has ended itself. */
  raised: NodeJS.Signals | undefined
  /** What these listeners have thrown. */
  readonly listenerErrors: Set<unknown>
  /** The event loop has run empty meanwhile, so 'beforeExit' was emitted. */
  hasRunEmpty: boolean
  /** The hooks have run. How the process ends from here on is not reported. */
  over: boolean
}

export interface RunningStage {
  readonly name: StageName
  readonly startedAt: number
  endedAt: number | undefined
  readonly hooks: RunningHook[]
  /** The hooks that have started and have not ended, in the order of their start. */
  readonly active: Set<RunningHook>
  /** What each of them has returned: the promise may have settled although the hook still counts as running. */
  readonly returned: WeakMap<RunningHook, unknown>
  /** Called with a hook that is registered while the stage runs. */
  add: (hook: RegisteredHook) => void
  /** Called when a hook has ended or was added. */
  wake: () => void
}

/** The report on a hook, until the hook has ended. */
export type RunningHook = { -readonly [Key in keyof HookReport]: HookReport[Key] } & { readonly isListener?: boolean }

/** The parts of a `ChildProcess` that are needed here. `pid` is undefined if the child could not be started. */
export type SupervisedChild = Pick<ChildProcess, 'pid' | 'once' | 'off'>

export interface State {
  options: Given<ConfigureOptions>
  /** `pid1/register` was loaded into a process that has not called this package: into an app, or into a package manager in front of it. */
  unaware: 'app' | 'package manager' | undefined
  /** By stage, in the order of registration. A hook is removed when it starts, so no hook runs twice. */
  readonly hooks: Readonly<Record<StageName, Set<RegisteredHook>>>
  readonly supervised: Map<SupervisedChild, SuperviseOptions>
  running: Running | undefined
  /** Made when its signal is first asked for, because making one takes a quarter of a millisecond. */
  abort: AbortController | undefined
}

/** What is registered and what is running. One for each process, because later copies of the package call the code of the first. */
export const state: State = {
  options: {},
  unaware: undefined,
  hooks: {
    announce: new Set(),
    intake: new Set(),
    cleanup: new Set(),
    children: new Set(),
    flush: new Set(),
    sidecars: new Set(),
  },
  supervised: new Map(),
  running: undefined,
  abort: undefined,
}

/** Whether listeners of other code wait to be called. */
export function hasWaitingListeners({ otherListeners }: Running): boolean {
  return otherListeners !== 'called' && otherListeners.size > 0
}

/** All hooks that have not started. */
export function waitingHooks(): RegisteredHook[] {
  return Object.values(state.hooks).flatMap((hooks) => [...hooks])
}

/** Resets everything except `exit: false`, so that the next test starts afresh. */
export function reset(): void {
  state.options = { exit: false }
  for (const hooks of Object.values(state.hooks)) hooks.clear()
  state.supervised.clear()
  state.running = undefined
  state.abort = undefined
}
