import type { Running } from '../state.ts'
import { clearTimeout, performance, setTimeout } from '../time/timers.ts'

/**
 * Resolves with true when the event loop has run empty, or when `endOfApp` is called; with false when the time is up. Nothing here keeps
 * the event loop alive.
 */
export function untilAppEnds(running: Running, endsAt: number): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (isInTime: boolean) => {
      process.removeListener('beforeExit', onEmptyLoop)
      clearTimeout(timer)
      running.endOfApp = undefined
      resolve(isInTime)
    }
    const onEmptyLoop = () => {
      running.hasRunEmpty = true
      end(true)
    }
    running.endOfApp = () => end(true)
    process.on('beforeExit', onEmptyLoop)
    const timer = setTimeout(() => end(false), Math.max(1, endsAt - performance.now())).unref()
  })
}
