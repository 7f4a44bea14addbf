import type { StageName } from './stages.ts'

/** What a shutdown did. Times are in milliseconds. */
export interface ShutdownReport {
  /** Why: for instance a signal's name, the reason given to `shutdown`, `uncaught error`, or `empty event loop`. */
  readonly reason: string
  readonly signal: NodeJS.Signals | null
  /** When the signal arrived, as epoch milliseconds. */
  readonly startedAt: number
  readonly durationMs: number
  readonly gracePeriodMs: number
  /** When the shutdown had to be over, as epoch milliseconds: a margin before the end of the grace period. */
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
  /** The name that the hook was registered with. The name of a server is its address. */
  readonly name: string
  /** `cut`: its time was up. `running`: only in a report that is made before the end. */
  readonly outcome: 'done' | 'failed' | 'cut' | 'running'
  readonly durationMs: number
  readonly error?: unknown
}

/** How the descendants that were still running have ended. */
export interface ChildrenReport {
  /** Exited after the signal that asked them to end. */
  readonly terminated: number
  /** Were killed with SIGKILL. */
  readonly killed: number
}

/** How the connections of the drained servers have ended. */
export interface ConnectionsReport {
  /** Connections that closed with all their requests answered. */
  readonly drained: number
  /** Connections without an end of their own (WebSockets, event streams, half requests), and requests that their client did not finish. */
  readonly ended: number
  /**
   * Ordinary requests that were not answered in time, and connections that there was no time to accept. Of several that were pipelined
   * before the signal only the first and the last are known.
   */
  readonly cut: number
}
