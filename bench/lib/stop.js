import { connect } from 'node:net'
import { WebSocket } from 'ws'
import { graceMs, limitMs, stoppers, tableOf } from './contenders.js'
import { startIdleClients } from './processes.js'
import { showStops, stopInSituations } from './situations.js'
import { each } from './statistics.js'

const contenders = [...stoppers, 'close-all', 'bare-exit']

const situations = {
  idle: {},
  'a request just before': { just: askAndKeep },
  'a request of 1 s': { just: askSlowly },
  'a WebSocket': { env: { BENCH_WEB_SOCKETS: '1' }, just: openWebSocket },
  '10 000 idle clients': {
    env: { BENCH_KEEP_ALIVE_MS: '60000' },
    before: async ({ port }) => ({ clients: await startIdleClients({ port, clients: 10_000 }) }),
    just: ({ clients }) => clients.idleFor(11_000),
    atOnce: 8,
    oneByOne: true,
    runs: 4,
  },
}

/** The time from SIGTERM to the exit, in several situations. */
export async function measureStop({ pid1, quick, runs = quick ? 1 : 5, say }) {
  const wanted = Object.entries(situations).filter(([, { atOnce }]) => !quick || atOnce === undefined)
  const those = Object.fromEntries(wanted)
  const { results, missing } = await stopInSituations({ situations: those, names: contenders, pid1, runs, say })
  return { results, missing, text: show(results) }
}

/** One request on a connection that stays open. */
async function askAndKeep({ port }) {
  await new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(requestFor('/')))
    socket.once('data', resolve)
    socket.once('error', reject)
    socket.on('error', () => {})
  })
}

async function askSlowly(server) {
  const socket = connect(server.port, '127.0.0.1', () => socket.write(requestFor('/slow')))
  let text = ''
  socket.on('data', (data) => (text += data))
  socket.on('error', () => {})
  const isAnswered = new Promise(
    (resolve) => void socket.once('close', () => resolve(/\r\n\r\n.*answered/s.test(text))),
  )
  await server.said(/slow/)
  return { isAnswered }
}

async function openWebSocket(server) {
  const socket = new WebSocket(`ws://127.0.0.1:${server.port}`)
  socket.on('error', () => {})
  const closeCode = new Promise((resolve) => void socket.once('close', resolve))
  await server.said(/upgraded/)
  return { closeCode }
}

function requestFor(path) {
  return `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`
}

function show(results) {
  const names = Object.keys(results)
  const cell = (stops) => {
    const lost = stops.filter(({ isAnswered }) => isAnswered === false).length
    const codes = [...new Set(stops.flatMap(({ closeCode }) => closeCode ?? []))]
    const more = [
      ...(lost > 0 ? ['the answer is lost'] : []),
      ...(codes.length > 0 ? [`closed with ${codes.join(' or ')}`] : []),
    ]
    return [showStops(stops), ...more].join('; ')
  }
  const runs = (situation) => Math.max(...each(Object.values(results[situation]), 'length'))
  return [
    `Seconds from SIGTERM to the end, and the exit code where it is not 0; medians and spread, of as many runs as the head ` +
      `says. Killed is who has not ended after ${graceMs / 1000} s; who takes a time limit was given ${limitMs / 1000} s:`,
    tableOf(
      contenders,
      names.map((name) => `${name} (${runs(name)}×)`),
      (name) => names.map((situation) => cell(results[situation][name])),
    ),
  ].join('\n\n')
}
