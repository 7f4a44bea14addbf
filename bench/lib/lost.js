import { setTimeout as delay } from 'node:timers/promises'
import { graceMs, label, limitMs, start } from './contenders.js'
import { startClients } from './processes.js'
import { each, inSeconds, ofRuns, rotated, spread, table } from './statistics.js'

// The last one is not stopped at all: what it loses is the clients' own error.
const contenders = ['pid1', 'server-close', 'close-with-grace', 'stoppable', 'http-terminator', 'not-stopped']

const scenarios = {
  '200 clients, up to 5 ms': { clients: 200, thinkMs: 5, mode: 'keep-alive' },
  '1000 clients, up to 5 ms': { clients: 1000, thinkMs: 5, mode: 'keep-alive' },
  '200 clients, up to 300 ms': { clients: 200, thinkMs: 300, mode: 'keep-alive' },
  '200 over https, up to 5 ms': { clients: 200, thinkMs: 5, mode: 'keep-alive', tls: true },
  '500 new connections/s': { mode: 'new', rate: 500 },
}

/** Requests lost while the server stops under load, beside the peers, interleaved. */
export async function measureLost({ pid1, quick, runs = quick ? 1 : 10, say }) {
  const results = Object.fromEntries(
    Object.keys(scenarios).map((scenario) => [scenario, Object.fromEntries(contenders.map((name) => [name, []]))]),
  )
  for (const [scenario, clients] of Object.entries(scenarios)) {
    for (let run = 0; run < runs; run++) {
      for (const name of rotated(contenders, run)) {
        const result = await stopUnderLoad(name, clients, pid1)
        results[scenario][name].push(result)
        say(`${scenario}, run ${run + 1}/${runs}, ${name}: ${result.lost} lost of ${result.sent}`)
      }
    }
  }
  return { results, text: show(results, runs) }
}

async function stopUnderLoad(name, { tls = false, ...clients }, pid1) {
  const isStopped = name !== 'not-stopped'
  const server = await start(isStopped ? name : 'server-close', { pid1, tls })
  const load = { ...clients, tls, port: server.port, maxMs: 20_000 }
  const { counted } = await startClients(isStopped ? load : { ...load, stopAfterMs: 2000 })
  if (!isStopped) await counted
  else await delay(1000)
  const { code, killed, ms, stderr } = await server.stop(graceMs)
  const { sent, answered, lost, lostOnNew, refused, detail } = await counted
  return { sent, answered, lost, lostOnNew, refused, detail, ...(isStopped ? { code, killed, ms, stderr } : {}) }
}

function show(results, runs) {
  const names = Object.keys(results)
  const row = (name, cell) => [label(name), ...names.map((scenario) => cell(results[scenario][name]))]
  const stopped = contenders.filter((name) => name !== 'not-stopped')
  return [
    `Requests lost in a stop under load; clients think up to so long between two requests (${ofRuns(runs)}):`,
    table(
      ['', ...names],
      contenders.map((name) => row(name, (stops) => spread(each(stops, 'lost')))),
    ),
    `Of these, on a connection that was just being made (${ofRuns(runs)}):`,
    table(
      ['', ...names],
      stopped.map((name) => row(name, (stops) => spread(each(stops, 'lostOnNew')))),
    ),
    `Seconds from SIGTERM to the end, and the exit code where it is not 0. SIGKILL comes after ${graceMs / 1000} s; ` +
      `who takes a time limit was given ${limitMs / 1000} s (${ofRuns(runs)}):`,
    table(
      ['', ...names],
      stopped.map((name) => row(name, showStops)),
    ),
  ].join('\n\n')
}

/** How long the stops took. Those that had to be killed are counted, not averaged. */
function showStops(stops) {
  const ended = stops.filter(({ killed }) => !killed)
  const killed = stops.length - ended.length
  const codes = [...new Set(each(ended, 'code'))].filter((code) => code !== 0)
  const parts = []
  if (ended.length > 0) parts.push(spread(each(ended, 'ms'), inSeconds))
  if (codes.length > 0) parts.push(`exit ${codes.join(' or ')}`)
  if (killed > 0)
    parts.push(`killed after ${graceMs / 1000} s${ended.length > 0 ? ` (${killed} of ${stops.length})` : ''}`)
  return parts.join(', ')
}
