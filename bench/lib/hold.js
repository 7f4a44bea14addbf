import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { graceMs, limitMs, stoppers, tableOf } from './contenders.js'
import { showStops, stopInSituations } from './situations.js'
import { ofRuns } from './statistics.js'

/** The time to exit, and the exit code, when something delays the exit: a good stop keeps its deadline and exits with an error. */
export async function measureHold({ pid1, quick, runs = quick ? 1 : 3, say }) {
  const folder = mkdtempSync(join(tmpdir(), 'fifo-'))
  const fifo = join(folder, 'fifo')
  spawnSync('mkfifo', [fifo])
  const situations = {
    'a hook that hangs': { cleanUp: 'hangs' },
    'a blocked loop': { just: ask('/block') },
    'a blocked thread pool': { env: { BENCH_FIFO: fifo }, just: ask('/pool') },
    'a live timer': { env: { BENCH_TIMER: '1' } },
  }
  const { results, missing } = await stopInSituations({ situations, names: stoppers, pid1, runs, say })
  rmSync(folder, { recursive: true })
  return { results, missing, text: show(results, runs) }
}

/** Sends a request that blocks the app, and waits until it does. */
function ask(path) {
  return async (server) => {
    void fetch(`http://127.0.0.1:${server.port}${path}`, { headers: { connection: 'close' } }).catch(() => {})
    await server.said(/blocked/)
    await delay(100)
  }
}

function show(results, runs) {
  const names = Object.keys(results)
  return [
    `Seconds from SIGTERM to the end, and the exit code where it is not 0; the time limit is ${limitMs / 1000} s, and SIGKILL ` +
      `comes after ${graceMs / 1000} s (${ofRuns(runs)}):`,
    tableOf(stoppers, names, (name) => names.map((situation) => showStops(results[situation][name]))),
  ].join('\n\n')
}
