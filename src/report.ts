import type { StageName } from './options.ts'

/** What a shutdown did. Times are in milliseconds. */
export interface ShutdownReport {
  /** Why: a signal's name, the reason given to `shutdown`, `uncaught error`, or `empty event loop`. */
  readonly reason: string
  readonly signal: NodeJS.Signals | null
  /** When the signal arrived, as epoch milliseconds. */
  readonly startedAt: number
  readonly durationMs: number
  readonly gracePeriodMs: number
  /** When the shutdown had to be over, as epoch milliseconds: before the grace period is. */
  readonly deadline: number
  readonly stages: readonly StageReport[]
  readonly connections: ConnectionsReport
  readonly children: ChildrenReport
  /** Uncaught errors, and the error that was given to `shutdown`. */
  readonly errors: readonly unknown[]
  readonly exitCode: number
}

export interface StageReport {
  readonly name: StageName
  readonly durationMs: number
  readonly hooks: readonly HookReport[]
}

export interface HookReport {
  /** The name it was registered with; a server's is its address. */
  readonly name: string
  /** `cut`: its time was up. `running`: only in a report that is given out before the end. */
  readonly outcome: 'done' | 'failed' | 'cut' | 'running'
  readonly durationMs: number
  readonly error?: unknown
}

/** What became of the descendants that were still there. */
export interface ChildrenReport {
  /** Ended when they were asked to. */
  readonly terminated: number
  /** Had to be killed. */
  readonly killed: number
}

/** What became of the connections of the drained servers. */
export interface ConnectionsReport {
  /** Left well: answered, told, closed. */
  readonly drained: number
  /** Had no end of their own (WebSockets, event streams, silent sockets) and were ended. */
  readonly ended: number
  /** Ordinary requests that were not answered in time, and connections that there was no time to accept. */
  readonly cut: number
}
