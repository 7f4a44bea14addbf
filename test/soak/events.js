import { openSync, writeSync } from 'node:fs'

// Written synchronously to a file of its own, which is complete even if the process is killed, or its stdout is full.
const file = openSync(process.argv[3], 'a')

export function record(what, more) {
  const at = performance.timeOrigin + performance.now()
  writeSync(file, `${JSON.stringify({ at, what, ...more })}\n`)
}

/** Blocks the event loop. */
export function block(id, ms) {
  record('blocks', { id })
  const until = performance.now() + ms
  while (performance.now() < until);
  record('unblocks', { id })
}
