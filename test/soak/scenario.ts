/**
 * What a run is made of. A scenario is plain JSON, so that it can be printed, edited, replayed and made smaller: every
 * list may lose elements, and every optional key may be left out, without making it invalid.
 */
export interface Scenario {
  readonly pid1: boolean
  readonly addons: boolean
  readonly options: {
    readonly gracePeriodMs: number
    readonly exitCode?: 'zero' | 'signal'
    readonly children?: 'terminate' | 'leave' | 'supervised'
    readonly lingerMs?: number
    readonly endlessMs?: number
    readonly drainDelayMs?: number
    readonly whileDraining?: 'serve' | 'refuse'
    readonly signals?: readonly NodeJS.Signals[]
  }
  /** Options that are given as `undefined`, which must be as if they were not given. */
  readonly undefinedOptions: readonly string[]
  readonly hooks: readonly Hook[]
  readonly exitCallbacks: readonly ExitCallback[]
  readonly servers: readonly Server[]
  readonly clients: readonly Client[]
  readonly children: readonly Child[]
  readonly workers: readonly ('idle' | 'busy' | 'sleeping')[]
  readonly triggers: readonly Trigger[]
}

export interface Hook {
  /** Unique. It is also the hook's name, if the hook has one. */
  readonly id: string
  readonly named: boolean
  readonly stage?: 'intake' | 'cleanup' | 'flush'
  readonly timeoutMs?: number
  /** Returns a promise even if it has nothing to wait for. */
  readonly async: boolean
  readonly steps: readonly Step[]
}

/** The steps of a hook, one after the other. A step that never ends or that throws is the last one. */
export type Step =
  | { readonly does: 'wait' | 'block'; readonly ms: number }
  | { readonly does: 'microtasks'; readonly count: number }
  | { readonly does: 'hang' | 'untilSignal' | 'leaveTimer' }
  | { readonly does: 'throw' | 'throwInTick' | 'rejectUnhandled'; readonly value: string }
  | { readonly does: 'setExitCode' | 'exit'; readonly code: number }
  | { readonly does: 'shutdown'; readonly with: ShutdownWith; readonly awaited: boolean }
  /** `afterEnd`: this number of microtasks after the hook's end, so between two stages. */
  | { readonly does: 'register'; readonly hook: Hook; readonly afterEnd?: number }
  | { readonly does: 'unregister'; readonly id: string }
  | { readonly does: 'print'; readonly bytes: number }

export type ShutdownWith = 'nothing' | 'reason' | 'error' | number

export interface ExitCallback {
  readonly does: 'nothing' | 'unregistersItself' | 'throws'
}

export interface Server {
  readonly kind: 'http' | 'https' | 'http2' | 'express' | 'ws'
}

/** A client of `servers[server]`, or of the last server if the list has become shorter. */
export interface Client {
  readonly server: number
  readonly kind:
    | 'kept'
    | 'slow'
    | 'upload'
    | 'pipelining'
    | 'eventStream'
    | 'webSocket'
    | 'new'
    | 'idle'
    | 'half'
    | 'blocking'
  /** What a request takes; with `blocking` the loop is blocked for all of it; with `new`, when it dials, counted from the first trigger. */
  readonly ms: number
  /** The pause between an answer and the next request on a kept connection. */
  readonly thinkMs: number
}

export interface Child {
  readonly kind: 'obedient' | 'deaf' | 'orphan' | 'zombie'
  readonly supervised?: {
    readonly signal?: 'SIGINT' | 'SIGUSR1'
    readonly timeoutMs?: number
    readonly sidecar?: boolean
  }
}

/** Begins the shutdown, or happens during it. `atMs` counts from the moment when everything is ready. */
export type Trigger = { readonly atMs: number } & (
  | { readonly does: 'signal'; readonly signal: NodeJS.Signals }
  | { readonly does: 'shutdown'; readonly with: ShutdownWith }
  | { readonly does: 'throw' | 'reject'; readonly value: string }
  | { readonly does: 'setExitCode' | 'exit'; readonly code: number }
  /** The app has nothing more to do. */
  | { readonly does: 'empty' }
)

export const stopSignals: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGPWR']
