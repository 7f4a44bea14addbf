import type { DrainOptions, Given } from '../options.ts'
import { usualDrainDelayMs } from '../platform/platform-table.ts'
import { state } from '../state.ts'

/** How a server is drained, with the defaults filled in. */
export type DrainSettings = Required<Omit<Given<DrainOptions>, MayBeMissing>> &
  Pick<DrainOptions, MayBeMissing> & {
    /** An idle connection is not closed before the end of the stage: `lingerMs` is Infinity. */
    readonly keepsIdle: boolean
  }

type MayBeMissing = 'afterDrain' | 'goodbye' | 'isEndless' | 'spreadMs'

export function drainSettings(options: Given<DrainOptions>): DrainSettings {
  // A person waits for the exit, so no default makes the drain longer.
  const isInteractive = state.running?.interactive === true
  const usual = { ...usualSettings, drainDelayMs: usualDrainDelayMs(process.env), ...state.options }
  const all: Omit<DrainSettings, 'endlessMs' | 'keepsIdle'> & Given<DrainOptions> = {
    ...usual,
    ...(isInteractive ? { lingerMs: 0, endlessMs: 0, drainDelayMs: 0, spreadMs: 0 } : {}),
    ...options,
  }
  const keepsIdle = all.lingerMs === Infinity
  const lingerMs = keepsIdle ? usualSettings.lingerMs : all.lingerMs
  return { ...all, lingerMs, keepsIdle, endlessMs: all.endlessMs ?? lingerMs }
}

// 1001 means "going away": the client may connect again, to another instance.
const usualSettings = { lingerMs: 1000, whileDraining: 'serve', closeCode: 1001 } as const

/** A drain ends this long before its deadline, so that the last bytes are flushed. */
export const lastBytesMs = 10
