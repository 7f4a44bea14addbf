import type { Running } from '../state.ts'
import { clearTimeout, performance, setTimeout } from '../time/timers.ts'
import { turnOfLoop } from '../time/wait.ts'

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
      // A signal that the app has just raised is not emitted yet, because it does not keep the event loop alive.
      void turnOfLoop().then(() => end(true))
    }
    running.endOfApp = () => end(true)
    process.on('beforeExit', onEmptyLoop)
    const timer = setTimeout(() => end(false), Math.max(1, endsAt - performance.now())).unref()
  })
}
