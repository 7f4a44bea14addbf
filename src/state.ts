import type { ChildProcess } from 'node:child_process'
import { setMaxListeners } from 'node:events'
import type { Clock, Resolvable } from './deadline.ts'
import type { HookOptions, Options, StageName, SuperviseOptions } from './options.ts'
import type { HookReport, ShutdownReport } from './report.ts'

/** Undoes a registration. Harmless to call twice; also works with `using`. */
export interface Unregister extends Disposable {
  (): void
}

/** What a hook is told. */
export interface HookContext {
  /** Why the process shuts down: a signal's name, or what `shutdown` was given. */
  readonly reason: string
  /** Aborted when this hook's own time is up. */
  readonly signal: AbortSignal
  /** When this hook is cut at the latest, as epoch milliseconds. */
  readonly deadline: number
  /** What is left until then, in milliseconds; never below 0. */
  remainingMs(): number
}

export type Hook = (context: HookContext) => unknown

/** A hook that waits for its stage. */
export interface RegisteredHook extends Omit<HookOptions, 'stage'> {
  readonly name: string
  readonly hook: Hook
  readonly stage: StageName
  /** A server's drain: it looks after its own end, so that requests get an answer when they are cut. */
  readonly endsItself?: boolean
}

/** Why a shutdown began. */
export interface Cause {
  readonly trigger: 'signal' | 'call' | 'uncaught error' | 'empty event loop'
  readonly reason: string
  readonly signal?: NodeJS.Signals
  readonly error?: unknown
  readonly exitCode?: number
  /** When, as `performance.now()`. */
  readonly arrivedAt: number
}

/** A shutdown under way. */
export interface Running {
  readonly cause: Cause
  readonly clock: Clock
  readonly interactive: boolean
  readonly stages: RunningStage[]
  readonly connections: { drained: number; ended: number; cut: number }
  readonly children: { terminated: number; killed: number }
  readonly errors: unknown[]
  /** Resolves with the report where the process stays alive, else never. */
  readonly finished: Resolvable<ShutdownReport>
  /** An uncaught error came while it still changed the exit code. */
  failed: boolean
  /** The first signal that came, for the second Ctrl-C. */
  firstSignal: NodeJS.Signals | undefined
  /** The hooks have run: whatever ends the process now is no news. */
  over: boolean
}

export interface RunningStage {
  readonly name: StageName
  readonly startedAt: number
  endedAt: number | undefined
  readonly hooks: { -readonly [Key in keyof HookReport]: HookReport[Key] }[]
  /** Wakes the stage when a hook is registered while it runs. */
  wake: () => void
}

/** The parts of a ChildProcess that are needed here. `pid` is undefined where it could not be started. */
export type SupervisedChild = Pick<ChildProcess, 'pid' | 'once' | 'off'>

interface State {
  options: Options
  /** In the order of registration; a hook leaves when it starts, so nothing runs twice. */
  readonly hooks: Set<RegisteredHook>
  readonly supervised: Map<SupervisedChild, SuperviseOptions>
  running: Running | undefined
  abort: AbortController
}

/** What is registered and what is running. One per process: later copies of the package call the first one's code. */
export const state: State = {
  options: {},
  hooks: new Set(),
  supervised: new Map(),
  running: undefined,
  abort: newAbort(),
}

/** Everything as new, but that nothing exits: the next test starts fresh. */
export function reset(): void {
  state.options = { exit: false }
  state.hooks.clear()
  state.supervised.clear()
  state.running = undefined
  state.abort = newAbort()
}

/** The first copy of the package that was loaded into this process (or worker) serves all of them. */
export function ofFirstCopy<Api extends object>(api: Api, whenFirst: () => void): Api {
  const key = Symbol.for('pid1')
  const global = globalThis as { [key]?: Api }
  if (global[key] === undefined) {
    Object.defineProperty(global, key, { value: api })
    whenFirst()
  }
  return global[key] ?? api
}

/** Every open stream may listen: on Node 20 the eleventh would be warned of as a leak. */
function newAbort(): AbortController {
  const abort = new AbortController()
  setMaxListeners(0, abort.signal)
  return abort
}

const installers: (() => void)[] = []
let installed = false

/** What is to be done at the first registration: importing alone changes nothing. */
export function atFirstRegistration(install: () => void): void {
  installers.push(install)
}

/** Called by whatever registers something. */
export function noteRegistration(): void {
  if (installed) return
  for (const install of installers) install()
  installed = true
}

/** An undo that is harmless to call twice. */
export function undo(action: () => void): Unregister {
  return Object.assign(() => action(), { [Symbol.dispose]: action })
}
