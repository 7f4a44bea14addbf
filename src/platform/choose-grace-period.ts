import { gracePeriodOfEnvironment } from '../options.ts'
import { state } from '../state.ts'
import type { ClockOptions } from '../time/deadline.ts'
import { hasTerminal, isDebugged, isWatched } from './interactive.ts'
import { findPlatform } from './platform-table.ts'
import { isWorkerOfPm2 } from './pm2.ts'
import { isClusterWorker, isPid1 } from './this-process.ts'

export interface GracePeriod {
  /** How long the platform waits between its stop signal and SIGKILL, in milliseconds. */
  readonly gracePeriodMs: number
  /** Where `gracePeriodMs` is from. */
  readonly gracePeriodSource: 'configure' | 'environment' | 'platform' | 'default'
}

/** Clock options that depend on the environment. */
export function clockOptions(): ClockOptions {
  const withoutDeadline = !isPid1() && (hasTerminal() || isWatched()) && isDebugged()
  const isManager = state.unaware === 'package manager'
  return { withoutDeadline, parentWaits: isClusterWorker() && !isWorkerOfPm2(), childrenFirst: isManager }
}

/** The grace period and its source. */
export function gracePeriod(): GracePeriod {
  const configured = state.options.gracePeriodMs
  if (configured !== undefined) return { gracePeriodMs: configured, gracePeriodSource: 'configure' }
  const given = gracePeriodOfEnvironment()
  if (given !== undefined) return { gracePeriodMs: given, gracePeriodSource: 'environment' }
  const usual = findPlatform(process.env)?.gracePeriodMs(process.env)
  if (usual !== undefined) return { gracePeriodMs: usual, gracePeriodSource: 'platform' }
  return { gracePeriodMs: 10_000, gracePeriodSource: 'default' }
}
