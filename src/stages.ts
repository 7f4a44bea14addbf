/** The stages of a shutdown. */
export type StageName = HookStage | 'children' | 'sidecars'

/** The stages that a hook can be registered for. */
export type HookStage = 'announce' | 'intake' | 'cleanup' | 'flush'

export interface Stage {
  readonly name: StageName
  /** All hooks at once, one hook after the other, or child processes are ended. */
  readonly runs: 'together' | 'in turn' | 'ends processes'
  /** The part of the whole time that earlier stages must leave to this one. */
  readonly reserve: number
  /** The most that they must leave to it, in milliseconds. */
  readonly reserveAtMostMs: number
  /** The stage must be over when this part of the whole time has passed. Default: 1. */
  readonly overBy?: number
  /** Without hooks the stage takes no time, not even a turn of the event loop. */
  readonly isSkippedIfEmpty?: boolean
}

/** The order of a shutdown. */
export const stages: readonly Stage[] = [
  // Servers still accept connections, while load balancers and registries take notice.
  { name: 'announce', runs: 'together', reserve: 0, reserveAtMostMs: 0, overBy: 0.5, isSkippedIfEmpty: true },
  // Servers drain, and hooks stop other sources of work.
  { name: 'intake', runs: 'together', reserve: 0.2, reserveAtMostMs: Infinity },
  { name: 'cleanup', runs: 'in turn', reserve: 0.2, reserveAtMostMs: Infinity },
  { name: 'children', runs: 'ends processes', reserve: 0.1, reserveAtMostMs: 1000 },
  // The logs and the telemetry of all the above.
  { name: 'flush', runs: 'in turn', reserve: 0.1, reserveAtMostMs: 1000 },
  // The processes that flush may have needed.
  { name: 'sidecars', runs: 'ends processes', reserve: 0.1, reserveAtMostMs: 1000 },
]

/** The stages that come after this one. */
export function stagesAfter(name: StageName): readonly Stage[] {
  return stages.slice(stages.findIndex((stage) => stage.name === name) + 1)
}
