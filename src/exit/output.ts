import { codeOf } from '../log.ts'
import type { Running } from '../state.ts'
import { performance } from '../time/timers.ts'
import { pause } from '../time/wait.ts'

// A reader that takes nothing for this long gets nothing more.
const longestPauseMs = 1000
const leastFlushMs = 50
const pollMs = 5

/**
 * Waits until stdout and stderr are written. What goes to a pipe or a socket stays in this process until its reader takes it, and
 * `process.exit` does not wait for that.
 */
export async function flushOutput({ clock }: Running): Promise<void> {
  const streams = [process.stdout, process.stderr]
  let left = bytesLeft(streams)
  let progressAt = performance.now()
  // A hook that was cut at the deadline may have printed something too. The watchdog comes later.
  const endsAt = Math.max(clock.deadline, progressAt + leastFlushMs)
  while (left > 0 && performance.now() < Math.min(endsAt, progressAt + longestPauseMs)) {
    await pause(pollMs)
    const now = bytesLeft(streams)
    if (now !== left) progressAt = performance.now()
    left = now
  }
}

function bytesLeft(streams: readonly NodeJS.WriteStream[]): number {
  return streams
    .filter(({ destroyed, writableLength }) => !destroyed && writableLength > 0)
    .reduce((sum, stream) => sum + stream.writableLength + writeQueueSize(stream), 0)
}

/**
 * The bytes of a chunk that its reader has not taken yet. Needs `stream._handle.writeQueueSize`; where it is missing, progress is only
 * seen when a whole chunk is written.
 */
function writeQueueSize(stream: NodeJS.WriteStream): number {
  const { _handle: handle } = stream as { _handle?: { writeQueueSize?: number } | null }
  return handle?.writeQueueSize ?? 0
}

/**
 * The reader of the log often exits first (`docker stop` of a pipe, a closed terminal). The next `console.log` then raises EPIPE or
 * EIO as an uncaught error, which must not make a good shutdown fail.
 */
export function swallowOutputErrors(): void {
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.listeners('error').includes(swallow)) continue
    // Each worker thread adds a listener as well, and Node warns of the eleventh as a leak.
    const most = stream.getMaxListeners()
    stream.setMaxListeners(0)
    stream.on('error', swallow)
    stream.setMaxListeners(most)
  }
}

/**
 * Node 20 aborts in its last step when its terminal has gone: it cannot reset the terminal, and asserts that it can. But it skips
 * closed descriptors. So a terminal that answers EIO, because it was hung up, is closed here.
 */
export function closeDeadTerminals(): void {
  const { closeSync, writeSync } = process.getBuiltinModule('node:fs')
  for (const fd of [0, 1, 2]) {
    try {
      writeSync(fd, '')
    } catch (error) {
      if (codeOf(error) === 'EIO') closeSync(fd)
    }
  }
}

function swallow(): void {}
