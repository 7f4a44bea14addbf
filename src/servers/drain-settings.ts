import type { DrainOptions, Given } from '../options.ts'
import { usualDrainDelayMs } from '../platform/platform-table.ts'
import { state } from '../state.ts'

/** How a server is drained, with the defaults filled in. */
export type DrainSettings = Required<Omit<Given<DrainOptions>, MayBeMissing>> & Pick<DrainOptions, MayBeMissing>

type MayBeMissing = 'afterDrain' | 'isEndless'

export function drainSettings(options: Given<DrainOptions>): DrainSettings {
  // A person waits for the exit, so no default makes the drain longer.
  if (state.running?.interactive === true)
    return {
      whileDraining: 'serve',
      lingerMs: 0,
      endlessMs: 0,
      drainDelayMs: 0,
      isEndless: state.options.isEndless,
      ...options,
    }
  const drainDelayMs = usualDrainDelayMs(process.env)
  const all = { lingerMs: 1000, whileDraining: 'serve', drainDelayMs, ...state.options, ...options } as const
  return { ...all, endlessMs: all.endlessMs ?? all.lingerMs }
}

/** A drain ends this long before its deadline, so that the last bytes are flushed. */
export const lastBytesMs = 10
