import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { TestContext } from 'node:test'
import type { Environment } from 'pid1'
import { asChildAndPid1, asPid1, type RunOptions, start } from './helpers/run.ts'

for (const [variables, gracePeriodMs] of [
  [{ KUBERNETES_SERVICE_HOST: '10.0.0.1' }, 30_000],
  [{ KUBERNETES_SERVICE_HOST: '10.0.0.1', K_SERVICE: 'shop', K_REVISION: 'shop-1' }, 300_000],
  [{ K_SERVICE: 'shop', K_REVISION: 'shop-1' }, 10_000],
  [{ ECS_CONTAINER_METADATA_URI_V4: 'http://169.254.170.2/v4/1' }, 30_000],
  [{ CONTAINER_APP_NAME: 'shop' }, 30_000],
  [{ WEBSITE_SITE_NAME: 'shop' }, 5000],
  [{ FLY_APP_NAME: 'shop' }, 5000],
  [{ DYNO: 'web.1' }, 30_000],
  [{ RENDER: 'true' }, 30_000],
  [{ RAILWAY_PROJECT_ID: '1' }, 0],
  [{ RAILWAY_PROJECT_ID: '1', RAILWAY_DEPLOYMENT_DRAINING_SECONDS: '20' }, 20_000],
  [{ NOMAD_ALLOC_ID: '1' }, 5000],
  [{ INVOCATION_ID: '1' }, 90_000],
  [{ pm_id: '0' }, 1600],
  [{ SUPERVISOR_ENABLED: '1' }, 10_000],
  [{ AWS_LAMBDA_FUNCTION_NAME: 'shop' }, 300],
  [{ GITHUB_ACTIONS: 'true' }, 2500],
  // Where two fit, the smaller one: too short a time is safe, too long a one is not.
  [{ KUBERNETES_SERVICE_HOST: '10.0.0.1', INVOCATION_ID: '1' }, 30_000],
  [{ KUBERNETES_SERVICE_HOST: '10.0.0.1', NOMAD_ALLOC_ID: '1' }, 5000],
] as const) {
  asChildAndPid1(`${Object.keys(variables).join(' and ')}: ${gracePeriodMs} ms`, async (t, pid1) => {
    const told = await environmentOf(t, { pid1, env: variables })
    assert.deepEqual([told.gracePeriodMs, told.gracePeriodSource], [gracePeriodMs, 'platform'])
    assert.equal(typeof told.platform, 'string')
    assert.equal(await usedGracePeriod(t, { pid1, env: variables }), gracePeriodMs)
  })
}

asChildAndPid1('without a marker the grace period is 10 s', async (t, pid1) => {
  const told = await environmentOf(t, { pid1 })
  assert.deepEqual([told.gracePeriodMs, told.gracePeriodSource, told.platform], [10_000, 'default', undefined])
})

for (const [text, gracePeriodMs] of [
  ['10s', 10_000],
  ['1500ms', 1500],
  ['1500', 1500],
  ['2.5s', 2500],
  ['0', 0],
  [' 7s ', 7000],
] as const) {
  asChildAndPid1(`PID1_GRACE_PERIOD="${text}" is ${gracePeriodMs} ms, whatever the platform`, async (t, pid1) => {
    const env = { PID1_GRACE_PERIOD: text, FLY_APP_NAME: 'shop' }
    const told = await environmentOf(t, { pid1, env })
    assert.deepEqual([told.gracePeriodMs, told.gracePeriodSource], [gracePeriodMs, 'environment'])
    assert.equal(await usedGracePeriod(t, { pid1, env }), gracePeriodMs)
  })
}

asChildAndPid1('configure() knows better than the environment and the platform', async (t, pid1) => {
  const env = { PID1_GRACE_PERIOD: '20s', FLY_APP_NAME: 'shop' }
  const told = await environmentOf(t, { pid1, env, args: [JSON.stringify({ gracePeriodMs: 3000 })] })
  assert.deepEqual([told.gracePeriodMs, told.gracePeriodSource], [3000, 'configure'])
})

for (const [variables, container] of [
  [{ KUBERNETES_SERVICE_HOST: '10.0.0.1' }, 'kubernetes'],
  [{ container: 'podman' }, 'podman'],
] as const) {
  asChildAndPid1(`${Object.keys(variables).join()}: the container is ${container}`, async (t, pid1) => {
    const told = await environmentOf(t, { pid1, env: variables })
    assert.equal(told.container, container)
  })
}

asChildAndPid1('the process knows whether it is PID 1, and else who is', async (t, pid1) => {
  const told = await environmentOf(t, { pid1 })
  assert.equal(told.pid1, pid1)
  assert.equal(told.init, pid1 ? undefined : readFileSync('/proc/1/comm', 'utf8').trim())
  assert.equal(typeof told.native, 'boolean')
  // A child of ours may be in a container with a shell as PID 1, of which it is warned.
  if (pid1) assert.equal(told.warnings.length, told.native ? 0 : 1)
})

asPid1('a shell that is PID 1 of a container is warned of', async (t) => {
  const environment = new URL('fixtures/core/environment.js', import.meta.url).pathname
  const command = ['sh', '-c', `"${process.execPath}" "${environment}"; exit $?`]
  const told = await environmentOf(t, { pid1: true, command, env: { container: 'podman' } })
  assert.deepEqual([told.pid1, told.init], [false, 'sh'])
  assert.equal(told.warnings.length, 1)
  assert.match(told.warnings[0] ?? '', /\bsh\b.*SIGTERM/)
})

async function environmentOf(t: TestContext, options: RunOptions): Promise<Environment> {
  const ended = await start(t, 'core/environment.js', options).ended
  assert.deepEqual([ended.code, ended.signal, ended.stderr], [0, null, ''], ended.stdout)
  return JSON.parse(ended.stdout) as Environment
}

/** What a shutdown says that it used. */
async function usedGracePeriod(t: TestContext, options: RunOptions): Promise<number> {
  const ended = await start(t, 'core/grace-period.js', options).ended
  assert.deepEqual([ended.code, ended.signal, ended.stderr], [0, null, ''], ended.stdout)
  return Number(ended.stdout)
}
