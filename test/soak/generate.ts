import { Random } from './random.ts'
import {
  type Child,
  type Client,
  type Hook,
  type Scenario,
  type ShutdownWith,
  type Step,
  stopSignals,
} from './scenario.ts'
import type { Server, Trigger } from './scenario.ts'
import { values } from './values.js'

const valueNames = Object.keys(values)

/** The scenario of a seed. */
export function generate(seed: number): Scenario {
  const random = new Random(seed)
  const gracePeriodMs = random.weighted([
    [6, () => random.int(300, 900)],
    [3, () => random.int(900, 1500)],
    [1, () => random.int(1500, 3000)],
  ])
  const addons = random.chance(0.85)
  const hasSignals = random.chance(0.1)
  const isEmpty = random.chance(0.08)
  const servers = isEmpty ? [] : makeServers(random)
  const hooks = makeHooks(random, gracePeriodMs, addons)
  return {
    pid1: random.chance(0.5),
    addons,
    options: { ...makeOptions(random, gracePeriodMs), ...(hasSignals && { signals: ['SIGUSR2'] }) },
    undefinedOptions: random.chance(0.2) ? random.list(1, 3, () => random.pick(optionNames)) : [],
    hooks,
    exitCallbacks: random.list(0, 3, () => ({
      does: random.weighted([
        [8, () => 'nothing' as const],
        [2, () => 'unregistersItself' as const],
        [1, () => 'throws' as const],
      ]),
    })),
    servers,
    clients: servers.length === 0 ? [] : random.list(0, 8, () => makeClient(random, servers, gracePeriodMs)),
    children: isEmpty || random.chance(0.75) ? [] : random.list(1, 3, () => makeChild(random)),
    workers: isEmpty || random.chance(0.93) ? [] : [random.pick(['idle', 'busy', 'sleeping'])],
    triggers: isEmpty
      ? [{ atMs: 0, does: 'empty' }]
      : makeTriggers(random, gracePeriodMs, hasSignals ? [...stopSignals, 'SIGUSR2'] : stopSignals),
  }
}

const optionNames = [
  'exitCode',
  'children',
  'lingerMs',
  'endlessMs',
  'drainDelayMs',
  'whileDraining',
  'reapAfterMs',
  'signals',
]

function makeOptions(random: Random, gracePeriodMs: number): Scenario['options'] {
  return {
    gracePeriodMs,
    ...(random.chance(0.15) && { exitCode: random.pick(['zero', 'signal'] as const) }),
    ...(random.chance(0.15) && { children: random.pick(['terminate', 'leave'] as const) }),
    ...(random.chance(0.8) && { lingerMs: random.pick([0, 20, 50, 100, 200]) }),
    ...(random.chance(0.2) && { endlessMs: random.pick([0, 30, 100, 300]) }),
    ...(random.chance(0.12) && { drainDelayMs: random.pick([0, 30, 100, 300]) }),
    ...(random.chance(0.12) && { whileDraining: random.pick(['serve', 'refuse'] as const) }),
  }
}

function makeHooks(random: Random, graceMs: number, addons: boolean): Hook[] {
  let count = 0
  const ids: string[] = []
  const make = (depth: number): Hook => {
    const id = `hook-${count++}`
    ids.push(id)
    const timeoutMs = random.chance(0.2) ? random.int(10, graceMs) : undefined
    return {
      id,
      named: random.chance(0.8),
      ...(random.chance(0.7) && { stage: random.pick(['intake', 'cleanup', 'cleanup', 'flush'] as const) }),
      ...(timeoutMs !== undefined && { timeoutMs }),
      async: random.chance(0.7),
      steps: random.list(0, 3, () => makeStep(depth)),
    }
  }
  const shortMs = () => random.weighted([[5, () => random.int(0, 30)], [3, () => random.int(30, Math.round(graceMs / 4))], [1, () => random.int(0, graceMs)]]) // prettier-ignore
  const makeStep = (depth: number): Step =>
    random.weighted<Step>([
      [30, () => ({ does: 'wait', ms: shortMs() })],
      // Without the native part nothing ends a loop that is blocked past the deadline.
      [8, () => ({ does: 'block', ms: addons ? shortMs() : random.int(0, 40) })],
      [5, () => ({ does: 'microtasks', count: random.int(1, 30) })],
      [4, () => ({ does: 'hang' })],
      [3, () => ({ does: 'untilSignal' })],
      [3, () => ({ does: 'leaveTimer' })],
      [8, () => ({ does: 'throw', value: random.pick(valueNames) })],
      [2, () => ({ does: 'throwInTick', value: random.pick(valueNames) })],
      [2, () => ({ does: 'rejectUnhandled', value: random.pick(valueNames) })],
      [3, () => ({ does: 'setExitCode', code: random.pick([0, 1, 3, 42]) })],
      [1, () => ({ does: 'exit', code: random.pick([0, 1, 5]) })],
      [3, () => ({ does: 'shutdown', with: shutdownWith(random), awaited: random.chance(0.5) })],
      [depth < 2 ? 5 : 0, () => ({ does: 'register', hook: make(depth + 1), ...(random.chance(0.6) && { afterEnd: random.int(1, 25) }) })], // prettier-ignore
      [3, () => ({ does: 'unregister', id: random.pick(ids) })],
      [2, () => ({ does: 'print', bytes: random.pick([10, 1000, 60_000, 300_000]) })],
    ])
  return random.list(0, random.chance(0.2) ? 12 : 5, () => make(0))
}

function shutdownWith(random: Random): ShutdownWith {
  return random.pick(['nothing', 'reason', 'error', 0, 7])
}

function makeServers(random: Random): Server[] {
  return random.list(0, random.chance(0.2) ? 3 : 1, () => ({
    kind: random.weighted([
      [8, () => 'http' as const],
      [2, () => 'https' as const],
      [2, () => 'http2' as const],
      [1, () => 'express' as const],
      [2, () => 'ws' as const],
    ]),
  }))
}

function makeClient(random: Random, servers: readonly Server[], graceMs: number): Client {
  const server = random.int(0, servers.length - 1)
  const kinds = [
    'kept',
    'kept',
    'slow',
    'slow',
    'upload',
    'pipelining',
    'eventStream',
    'new',
    'new',
    'idle',
    'blocking',
  ] as const
  const more = servers[server]?.kind === 'http2' ? [] : (['half'] as const)
  const ws = servers[server]?.kind === 'ws' ? (['webSocket', 'webSocket', 'webSocket'] as const) : []
  const kind = random.pick([...kinds, ...more, ...ws])
  return {
    server,
    kind,
    ms: random.weighted([
      [8, () => random.int(0, Math.round(graceMs / 4))],
      [1, () => random.int(0, kind === 'new' ? graceMs : graceMs * 2)],
    ]),
    thinkMs: random.int(0, 150),
  }
}

function makeChild(random: Random): Child {
  const kind = random.pick(['obedient', 'obedient', 'deaf', 'orphan', 'zombie'] as const)
  if (random.chance(0.6)) return { kind }
  return {
    kind,
    supervised: {
      ...(random.chance(0.3) && { signal: random.pick(['SIGINT', 'SIGUSR1'] as const) }),
      ...(random.chance(0.3) && { timeoutMs: random.int(20, 200) }),
      ...(random.chance(0.3) && { sidecar: true }),
    },
  }
}

function makeTriggers(random: Random, graceMs: number, signals: readonly NodeJS.Signals[]): Trigger[] {
  const signal = () => random.pick([...signals, 'SIGTERM', 'SIGTERM'] as const)
  const first = random.weighted<Trigger>([
    [12, () => ({ atMs: 0, does: 'signal', signal: signal() })],
    [4, () => ({ atMs: 0, does: 'shutdown', with: shutdownWith(random) })],
    [2, () => ({ atMs: 0, does: 'throw', value: random.pick(valueNames) })],
    [2, () => ({ atMs: 0, does: 'reject', value: random.pick(valueNames) })],
  ])
  if (random.chance(0.55)) return [first]
  const more = random.list(1, 3, (): Trigger => {
    const atMs = random.chance(0.3) ? random.int(0, 5) : random.int(0, graceMs)
    return random.weighted<Trigger>([
      [8, () => ({ atMs, does: 'signal', signal: signal() })],
      [2, () => ({ atMs, does: 'shutdown', with: shutdownWith(random) })],
      [1, () => ({ atMs, does: 'throw', value: random.pick(valueNames) })],
      [1, () => ({ atMs, does: 'reject', value: random.pick(valueNames) })],
      [1, () => ({ atMs, does: 'setExitCode', code: random.pick([0, 3]) })],
      [1, () => ({ atMs, does: 'exit', code: random.pick([0, 5]) })],
    ])
  })
  return [first, ...more]
}
