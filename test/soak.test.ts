import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { check } from './soak/model.ts'
import { type Observation, play } from './soak/play.ts'
import type { Scenario } from './soak/scenario.ts'

// One of each: whatever rule is broken in what was seen of this shutdown must be noticed.
const scenario: Scenario = {
  pid1: false,
  addons: true,
  options: { gracePeriodMs: 2000, lingerMs: 50, children: 'terminate' },
  undefinedOptions: [],
  hooks: [
    { id: 'hook-0', named: true, async: true, steps: [{ does: 'wait', ms: 20 }] },
    { id: 'hook-1', named: true, async: false, steps: [{ does: 'throw', value: 'error' }] },
    { id: 'hook-2', named: true, stage: 'flush', async: false, steps: [{ does: 'print', bytes: 100 }] },
    { id: 'hook-3', named: true, stage: 'intake', timeoutMs: 100, async: true, steps: [{ does: 'hang' }] },
  ],
  exitCallbacks: [{ does: 'nothing' }],
  servers: [{ kind: 'http' }],
  clients: [{ server: 0, kind: 'slow', ms: 100, thinkMs: 0 }],
  children: [{ kind: 'obedient' }],
  workers: [],
  triggers: [{ atMs: 0, does: 'signal', signal: 'SIGTERM' }],
}

const mutations: Record<string, (seen: Observation) => Partial<Observation>> = {
  'ends in time': ({ endedAt }) => ({ endedAt: endedAt + 3000 }),
  'ends by itself': () => ({ code: null, signal: 'SIGKILL' }),
  'has a report': ({ events }) => ({ events: events.filter(({ what }) => what !== 'report') }),
  'counts from the signal': ({ triggered }) => ({ triggered: triggered.map((time) => (time ?? 0) - 200) }),
  'every hook once': ({ events }) => ({
    events: events.flatMap((event) => (event.what === 'start' && event.id === 'hook-0' ? [event, event] : [event])),
  }),
  outcome: ({ events }) => ({ events: events.filter(({ what, id }) => what !== 'end' || id !== 'hook-0') }),
  'stages in order': moved('hook-2', -500),
  'last registered first': moved('hook-1', 50),
  'exit code': () => ({ code: 0 }),
  'exit callbacks once': ({ events }) => ({ events: events.filter(({ what }) => what !== 'exit') }),
  'one line for each problem': ({ stderr }) => ({ stderr: stderr.replace('"hook-3"', 'a hook') }),
  'nothing without a problem': ({ stderr }) => ({ stderr: `${stderr}pid1: something else\n` }),
  'all of stdout': ({ stdout }) => ({ stdout: stdout.slice(0, -1) }),
  'no request lost': ({ clients }) => ({
    clients: clients.map((outcomes) => outcomes.map((outcome) => ({ ...outcome, how: 'lost' as const }))),
  }),
  'requests are counted': inReport({ connections: { drained: 0, ended: 0, cut: 1 } }),
  'no child is left': ({ events }) => ({ survivors: events.flatMap(({ pid }) => pid ?? []) }),
  'children are counted': inReport({ children: { terminated: 0, killed: 0 } }),
}

test('each rule of the soak notices when it is broken', async () => {
  const seen = await play(scenario)
  assert.deepEqual(check(scenario, seen), [])
  for (const [rule, mutate] of Object.entries(mutations)) {
    const rules = check(scenario, { ...seen, ...mutate(seen) }).map((broken) => broken.rule)
    assert.ok(rules.includes(rule), `Expected "${rule}" to be broken, got ${rules.join(', ')}`)
  }
})

test('the soak fails, and names the rule and the seed, when an app ends with a wrong code', () => {
  const soak = fileURLToPath(new URL('soak/', import.meta.url))
  const ended = spawnSync(process.execPath, ['--import', 'tsx', `${soak}run.ts`, '1', '1'], {
    encoding: 'utf8',
    env: { ...process.env, PID1_SOAK_APP: `${soak}broken-app.js` },
  })
  assert.equal(ended.status, 1, ended.stdout + ended.stderr)
  assert.match(ended.stdout, /seed 1:\n[^]*exit code: 3, and not \d+/)
})

function moved(id: string, ms: number): (seen: Observation) => Partial<Observation> {
  return ({ events }) => ({
    events: events.map((event) => (event.id === id ? { ...event, at: event.at + ms } : event)),
  })
}

function inReport(changes: object): (seen: Observation) => Partial<Observation> {
  return ({ events }) => ({
    events: events.map((event) =>
      event.report === undefined ? event : { ...event, report: { ...event.report, ...changes } },
    ),
  })
}
