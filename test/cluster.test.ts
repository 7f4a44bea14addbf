import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertEnded, assertStoppedWell } from './helpers/report.ts'
import { asChildAndPid1, start } from './helpers/run.ts'

test('a worker whose primary is killed answers its request, runs its hooks, and exits with 1', async (t) => {
  const run = start(t, 'processes/primary.js', { args: ['waits'] })
  const answer = fetch(`http://127.0.0.1:${await run.port()}`)
  await run.line(/request/)
  run.signal('SIGKILL')
  assert.equal(await (await answer).text(), 'answer')
  const { stdout } = await run.ended
  assert.match(stdout, /^request\nhook runs: the primary has died\nworker exits with 1\n$/m)
})

for (const [way, reason] of [
  ['disconnects', 'disconnected from the primary'],
  ['has its channel disconnected', 'disconnected from the primary'],
  ['is disconnected', 'disconnected from the primary'],
] as const) {
  asChildAndPid1(`a worker that ${way} answers its request, runs its hooks, and exits with 0`, async (t, pid1) => {
    const run = start(t, 'processes/primary.js', { args: [way], pid1 })
    const answer = await (await fetch(`http://127.0.0.1:${await run.port()}`)).text()
    assert.equal(answer, 'answer')
    await run.line(new RegExp(`^request\nhook runs: ${reason}\nworker exits with 0$`, 'm'))
    run.signal('SIGTERM')
    assertStoppedWell(await run.ended)
  })
}

asChildAndPid1('a worker that the primary disconnects shuts down, although a timer keeps it alive', async (t, pid1) => {
  const run = start(t, 'processes/primary.js', { args: ['is disconnected while it works'], pid1 })
  // Its server was not given to drainOnShutdown. Node waits for the answer before it disconnects.
  assert.equal(await (await fetch(`http://127.0.0.1:${await run.port()}`)).text(), 'answer')
  await run.line(/^hook runs: disconnected from the primary\nworker exits with 0$/m)
  run.signal('SIGTERM')
  assertStoppedWell(await run.ended)
})

asChildAndPid1('a worker that disconnects itself is not cut in its own close', async (t, pid1) => {
  const run = start(t, 'processes/primary.js', { args: ['disconnects itself and closes'], pid1 })
  await run.line(/^closed\nhook runs: empty event loop\nworker exits with 0$/m)
  run.signal('SIGTERM')
  assertStoppedWell(await run.ended)
})

for (const [way, code, line] of [
  ['SIGKILL', 1, 'pid1: cluster failed: Error: a worker was ended by SIGKILL\n'],
  ['SIGSEGV', 1, 'pid1: cluster failed: Error: a worker was ended by SIGSEGV\n'],
  ['does not know of it', 0, ''],
] as const) {
  const what = way.startsWith('SIG') ? `that dies of ${way} during the drain` : `that does not know of this package`
  asChildAndPid1(`a worker ${what} makes the primary end with ${code}`, async (t, pid1) => {
    const run = start(t, 'processes/primary.js', { args: [way], pid1 })
    await run.port()
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, code)
    assert.equal(ended.stderr.split(/(?<=\n)/)[0] ?? '', line)
  })
}

test('connections that are passed to another process are not kept in memory', async (t) => {
  const run = start(t, 'servers/passed-on.js', { nodeArgs: ['--no-warnings'] })
  const kept = Number((await run.line(/^(\d+) kept$/m))[1])
  run.signal('SIGTERM')
  assertStoppedWell(await run.ended)
  assert.ok(kept < 600, `${kept} kept`)
})
