import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import autocannon from 'autocannon'
import { startBalancer, whyNoBalancer } from '../../test/helpers/balancers.ts'
import { freePorts } from '../../test/helpers/ports.ts'
import { graceMs, label, start, stoppers } from './contenders.js'
import { each, inSeconds, ofRuns, rotated, spread, table } from './statistics.js'

const contenders = stoppers
const balancers = ['nginx', 'haproxy']
const clients = 50
const instancesBehind = 3
const rounds = 2
// The time that a balancer needs to use an instance again that was away.
const settleMs = 1500

/** The errors that clients see in rolling restarts: three instances behind a balancer are restarted in turn, under POSTs. */
export async function measureRestarts({ pid1, quick, runs = quick ? 1 : 3, say }) {
  const missing = Object.fromEntries(balancers.map((name) => [name, whyNoBalancer(name)]))
  const present = balancers.filter((name) => missing[name] === undefined)
  const results = Object.fromEntries(
    contenders.map((name) => [name, Object.fromEntries(present.map((at) => [at, []]))]),
  )
  for (let run = 0; run < runs; run++) {
    for (const name of rotated(contenders, run)) {
      for (const balancer of present) {
        const seen = await restartBehind(balancer, name, pid1, quick ? 1 : rounds)
        results[name][balancer].push(seen)
        say(`restarts, run ${run + 1}/${runs}: ${name} behind ${balancer}: ${JSON.stringify(seen)}`)
      }
    }
  }
  return { results, text: show(results, present, missing, runs) }
}

async function restartBehind(balancerName, name, pid1, times) {
  const [front, ...ports] = await freePorts(1 + instancesBehind)
  const startAt = (port) => start(name, { pid1, port })
  const instances = []
  for (const port of ports) instances.push(await startAt(port))
  const balancer = await startBalancer(balancerName, front, ports)
  const load = autocannon({
    url: `http://127.0.0.1:${front}/`,
    method: 'POST',
    body: 'a few bytes',
    connections: clients,
    duration: 300, // at most: it is stopped when the restarts are over
  })
  const counted = once(load, 'done')
  await delay(settleMs)
  const stops = []
  for (let restart = 0; restart < times * ports.length; restart++) {
    const at = restart % ports.length
    stops.push(await instances[at].stop(graceMs))
    instances[at] = await startAt(ports[at])
    await delay(settleMs)
  }
  load.stop()
  const [{ statusCodeStats, errors, timeouts }] = await counted
  await balancer.stop()
  for (const instance of instances) await instance.stop(graceMs)
  const count = (code) => statusCodeStats[code]?.count ?? 0
  const failed = Object.keys(statusCodeStats).filter((code) => code !== '200')
  return {
    served: count('200'),
    failed502: count('502'),
    failedOther: failed.reduce((sum, code) => sum + count(code), 0) - count('502') + errors + timeouts,
    killed: stops.filter(({ killed }) => killed).length,
    longestStopMs: Math.max(...each(stops, 'ms')),
  }
}

function show(results, present, missing, runs) {
  const cell = (seen) => {
    const failed = spread(seen.map(({ failed502, failedOther }) => failed502 + failedOther))
    const killed = Math.max(...each(seen, 'killed'))
    return `${failed}${killed === 0 ? '' : `, ${killed} killed`}; stops of up to ${inSeconds(Math.max(...each(seen, 'longestStopMs')))} s`
  }
  const rows = Object.entries(results).map(([name, behind]) => [label(name), ...present.map((at) => cell(behind[at]))])
  return [
    `Errors that clients see in ${rounds * instancesBehind} rolling restarts (${ofRuns(runs)}, ${clients} clients that post):`,
    table(['', ...present.map((at) => `behind ${at}`)], rows),
    ...Object.values(missing)
      .filter((why) => why !== undefined)
      .map((why) => `Not measured: ${why}.`),
  ].join('\n\n')
}
