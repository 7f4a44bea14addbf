import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { childrenOf, residentKibOf } from '../../test/helpers/proc.ts'
import { startServer } from './processes.js'
import { each, ofRuns, rotated, spread, table } from './statistics.js'

const app = fileURLToPath(new URL('orphans-app.js', import.meta.url))
const graceMs = 5000
const lookMs = 100
const contenders = {
  pid1: {},
  '`tini -- node`': { wrapper: ['tini', '--'], env: { PID1_DISABLE: '1' } },
  'bare node': { env: { PID1_DISABLE: '1' } },
}

/** Orphans exit under PID 1. Measures for how long they are zombies, and what it costs to reap them. */
export async function measureOrphans({ pid1, quick, runs = quick ? 1 : 3, say }) {
  if (!pid1) return { results: {}, text: 'Orphans: not measured, for nothing can be PID 1 here.' }
  const orphans = quick ? 500 : 5000
  const results = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]))
  for (let run = 0; run < runs; run++) {
    for (const name of rotated(Object.keys(contenders), run)) {
      const result = await adopt(contenders[name], orphans)
      results[name].push(result)
      say(
        `orphans, run ${run + 1}/${runs}, ${name}: ${result.left} left, the longest ${result.longestMs.toFixed(0)} ms`,
      )
    }
  }
  return { results, text: show(results, runs, orphans) }
}

async function adopt(contender, orphans) {
  const server = await startServer(app, { pid1: true, ...contender })
  const before = costOf(server.pid)
  const making = { over: false }
  const made = fetch(`http://127.0.0.1:${server.port}/${orphans}`)
    .then((response) => response.text())
    .finally(() => (making.over = true))
  const since = new Map()
  let [lastChange, longestMs] = [performance.now(), 0]
  // Until all were started, and for four seconds no zombie has appeared or disappeared.
  while (!making.over || performance.now() - lastChange < 4000) {
    const now = performance.now()
    const zombies = new Set(zombiesOf(server.pid))
    for (const pid of zombies) {
      if (since.has(pid)) continue
      since.set(pid, now)
      lastChange = now
    }
    for (const [pid, at] of since) {
      longestMs = Math.max(longestMs, now - at)
      if (zombies.has(pid)) continue
      since.delete(pid)
      lastChange = now
    }
    await delay(lookMs)
  }
  if ((await made) !== '0') throw new Error('The shell that leaves the orphans behind has failed')
  const after = costOf(server.pid)
  await server.stop(graceMs)
  return { longestMs, left: since.size, cpuMs: after.cpuMs - before.cpuMs, residentKib: after.residentKib }
}

/** Read from outside the namespace, so that it costs the processes inside nothing. */
function zombiesOf(pid) {
  return childrenOf(pid).filter((child) => statOf(child)?.[0] === 'Z')
}

/** The cost of PID 1 and, under tini, of the node process below it. */
function costOf(pid) {
  const all = [pid, ...childrenOf(pid).filter((child) => isNode(child))]
  const ticks = all.flatMap((one) => statOf(one)?.slice(11, 13) ?? []).map(Number)
  return { cpuMs: sum(ticks) * 10, residentKib: sum(all.map(residentKibOf)) }
}

function isNode(pid) {
  return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'node'
}

/** The fields of `stat` from the state on; undefined if the process no longer exists. */
function statOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
  } catch {
    return undefined
  }
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0)

function show(results, runs, orphans) {
  const inSeconds = (ms) => (ms / 1000).toFixed(1)
  const rows = Object.entries(results).map(([name, measured]) => [
    name,
    spread(each(measured, 'left')),
    spread(each(measured, 'longestMs'), inSeconds),
    spread(each(measured, 'cpuMs')),
    spread(each(measured, 'residentKib'), (kib) => (kib / 1024).toFixed(1)),
  ])
  return [
    `${orphans} orphans under PID 1. CPU and memory are those of PID 1 and of the node under it, the making of the orphans ` +
      `included (${ofRuns(runs)}):`,
    table(['', 'zombies left', 'the longest was one for (s)', 'CPU (ms)', 'resident at the end (MiB)'], rows),
  ].join('\n\n')
}
