// With Bun as the Node of the fixtures: `npm run test:bun`.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { dial, requestFor } from '../helpers/connection.ts'
import { assertEnded, assertStoppedWell, reportIn } from '../helpers/report.ts'
import { asChildAndPid1, asPid1, type Ended, fixturePath, type Run, start } from '../helpers/run.ts'
import { assertTook } from '../helpers/time.ts'

test('the fixtures run on Bun', () => {
  assert.match(execFileSync(process.execPath, ['--print', 'process.versions.bun'], { encoding: 'utf8' }), /^\d/)
})

asChildAndPid1('an idle server stops at once', async (t, pid1) => {
  const run = start(t, 'servers/http.js', { pid1 })
  await run.port()
  const ended = await stop(run)
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 900 })
})

asChildAndPid1('a request in flight is answered', async (t, pid1) => {
  const run = start(t, 'servers/http.js', { pid1 })
  const connection = await dial(t, await run.port())
  connection.send(requestFor('/slow?ms=600'))
  await run.line(/got/)
  const ended = stop(run)
  assert.match((await connection.ended).text, /^HTTP\/1\.1 200 [^]*answered$/)
  assertStoppedWell(await ended)
  assert.deepEqual(reportIn(await ended).connections, { drained: 1, ended: 0, cut: 0 })
})

asChildAndPid1('a kept connection does not delay the stop', async (t, pid1) => {
  const run = start(t, 'servers/http.js', { pid1 })
  const connection = await dial(t, await run.port())
  connection.send(requestFor('/'))
  await connection.received(/answered/)
  const ended = await stop(run)
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 3000 })
  assert.equal((await connection.ended).how, 'FIN')
})

asChildAndPid1('hooks run last first, and flush after cleanup', async (t, pid1) => {
  const ended = await stopHooks(t, pid1, [
    ['logs', 10, { stage: 'flush' }],
    ['first', 10],
    ['second', 10],
  ])
  assertStoppedWell(ended)
  assert.deepEqual(ended.stdout.match(/\w+ (?=ends)/g), ['second ', 'first ', 'logs '])
})

for (const [what, hook, code, line] of [
  ['fails', ['broken', 'rejects'], 1, /^pid1: the hook "broken" failed: Error: no such table\n/],
  ['hangs', ['stuck', 'hangs', { timeoutMs: 100 }], 124, /^pid1: the hook "stuck" was cut after 100 ms\n$/],
  ['hangs until the deadline', ['stuck', 'hangs'], 124, /^pid1: the hook "stuck" was cut after \d+ ms\n$/],
] as const) {
  asChildAndPid1(`a hook that ${what}: code ${code}`, async (t, pid1) => {
    const ended = await stopHooks(t, pid1, [['good', 10], hook], { PID1_GRACE_PERIOD: '1500ms' })
    assertEnded(ended, code)
    assert.match(ended.stdout, /good ends/)
    assert.match(ended.stderr, line)
  })
}

asChildAndPid1('shutdown() with a code', async (t, pid1) => {
  const ended = await start(t, 'core/shutdown-by-hand.js', { pid1, args: ['a code'] }).ended
  assertEnded(ended, 7)
})

asChildAndPid1('a signal during start-up, after the first registration', async (t, pid1) => {
  const run = start(t, 'core/start-up-registered.js', { pid1 })
  await run.line(/computing/)
  const ended = await stop(run)
  assertEnded(ended, 0)
  assert.match(ended.stdout, /hook runs: SIGTERM/)
})

asPid1('`bun run` in front of the app passes the signal on, and waits: no reason for a warning', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'bun-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const command = [process.execPath, fixturePath('core/quiet.js')].map((word) => `"${word}"`).join(' ')
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ scripts: { start: command } }))
  const run = start(t, '', { pid1: true, command: [process.execPath, 'run', '--silent', 'start'], cwd: folder })
  await run.line(/ready/)
  assertStoppedWell(await stop(run))
})

async function stopHooks(
  t: TestContext,
  pid1: boolean,
  hooks: readonly unknown[],
  env: NodeJS.ProcessEnv = {},
): Promise<Ended> {
  const run = start(t, 'core/hooks.js', { pid1, env, args: hooks.map((hook) => JSON.stringify(hook)) })
  await run.line(/ready/)
  return stop(run)
}

function stop(run: Run): Promise<Ended> {
  run.signal('SIGTERM')
  return run.ended
}
