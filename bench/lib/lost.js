import { setTimeout as delay } from 'node:timers/promises'
import { graceMs, label, limitMs, start, stoppers } from './contenders.js'
import { startNetwork } from './network.js'
import { startClients } from './processes.js'
import { each, inSeconds, ofRuns, rotated, spread, table } from './statistics.js'

// The last one is not stopped at all: what it loses is the clients' own error.
const contenders = [...stoppers, 'not-stopped']

const keptFor = (clients, thinkMs) => ({ clients, thinkMs, mode: 'keep-alive' })
const scenarios = {
  '50 clients': keptFor(50, 5),
  '200 clients': keptFor(200, 5),
  '1000 clients': keptFor(1000, 5),
  '5000 clients': keptFor(5000, 5),
  '200, up to 300 ms': keptFor(200, 300),
  '1000, up to 4 s': keptFor(1000, 4000),
  '200 over https': { ...keptFor(200, 5), server: 'https', tls: true },
  '500 new/s': { mode: 'new', rate: 500 },
  '500 new/s, 20 ms away': { mode: 'new', rate: 500, roundTripMs: 20 },
  '1000 new/s, saturated': { mode: 'new', rate: 1000, path: '/heavy' },
  'HTTP/2, 50 × 4 streams': { server: 'http2', clients: 50, streams: 4, thinkMs: 5 },
}
const quickScenarios = ['200 clients', '500 new/s', 'HTTP/2, 50 × 4 streams']
// These make their server themselves, of http alone.
const httpOnly = new Set(['nestjs'])

/** Requests lost while the server stops under load, beside the peers, interleaved. */
export async function measureLost({ pid1, quick, runs = quick ? 1 : 3, say }) {
  const names = quick ? quickScenarios : Object.keys(scenarios)
  const results = Object.fromEntries(
    names.map((scenario) => [scenario, Object.fromEntries(contenders.map((name) => [name, []]))]),
  )
  const notes = new Set()
  for (const scenario of names) {
    for (let run = 0; run < runs; run++) {
      for (const name of rotated(contenders, run)) {
        const result = await tryToStop(name, scenarios[scenario], pid1)
        if (result.why !== undefined) notes.add(`${name}, ${scenario}: ${result.why}`)
        else results[scenario][name].push(result)
        say(`${scenario}, run ${run + 1}/${runs}, ${name}: ${result.why ?? `${result.lost} lost of ${result.sent}`}`)
      }
    }
  }
  return { results, text: show(results, runs, notes) }
}

/** What cannot be measured has its reason instead of a number. */
async function tryToStop(name, scenario, pid1) {
  if (scenario.server !== undefined && httpOnly.has(name)) return { why: 'makes a server of http itself' }
  if (scenario.path !== undefined && name === 'effect') return { why: 'answers by itself, and does not compute' }
  const network = scenario.roundTripMs === undefined ? {} : await startNetwork(scenario.roundTripMs)
  if (network.why !== undefined) return network
  try {
    return await stopUnderLoad(name, scenario, pid1, network)
  } catch (error) {
    return { why: error.message.split('\n')[0] }
  } finally {
    network.stop?.()
  }
}

async function stopUnderLoad(name, { server: kind, ...clients }, pid1, network) {
  const isStopped = name !== 'not-stopped'
  const { serverSide, clientSide, address: host = '127.0.0.1' } = network
  const options = { pid1, server: kind, inside: serverSide, env: { BENCH_HOST: host } }
  const server = await start(isStopped ? name : 'server-close', options)
  const load = { ...clients, host, port: server.port, maxMs: 20_000 }
  // Long enough for each to be greeted, and to have its second answer.
  const stopAfterMs = 2000 + (clients.clients ?? 0) + 1.5 * (clients.thinkMs ?? 0)
  const { counted } = await startClients(isStopped ? load : { ...load, stopAfterMs }, clientSide)
  if (!isStopped) await counted
  else await delay(500)
  const { code, killed, ms, stderr } = await server.stop(graceMs)
  const { sent, answered, lost, lostOnNew, again = 0, refused, detail } = await counted
  return { sent, answered, lost, lostOnNew, again, refused, detail, ...(isStopped ? { code, killed, ms, stderr } : {}) }
}

function show(results, runs, notes) {
  const names = Object.keys(results)
  const row = (name, cell) => [label(name), ...names.map((scenario) => cell(results[scenario][name]))]
  const stopped = contenders.filter((name) => name !== 'not-stopped')
  return [
    `Requests lost in a stop under load (${ofRuns(runs)}). Clients keep their connections and think for up to 5 ms, or as it says, ` +
      `between two requests; new ones post once:`,
    table(
      ['', ...names],
      contenders.map((name) => row(name, (stops) => (stops.length === 0 ? '–' : spread(each(stops, 'lost'))))),
    ),
    `Seconds from SIGTERM to the end, and the exit code where it is not 0. SIGKILL comes after ${graceMs / 1000} s; ` +
      `who takes a time limit was given ${limitMs / 1000} s (${ofRuns(runs)}):`,
    table(
      ['', ...names],
      stopped.map((name) => row(name, (stops) => (stops.length === 0 ? '–' : showStops(stops)))),
    ),
    ...[...notes].map((note) => `Not measured: ${note}.`),
  ].join('\n\n')
}

/** How long the stops took. Those that had to be killed are counted, not averaged. */
export function showStops(stops) {
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
