import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test, type TestContext } from 'node:test'
import type { Environment } from 'pid1'
import { findPlatform, platforms } from '../src/platform/platform-table.ts'
import { asChildAndPid1, fixturePath, type RunOptions, start } from './helpers/run.ts'
import { tableIn } from './helpers/table.ts'

for (const [platform, variables, gracePeriodMs] of [
  ['kubernetes', { KUBERNETES_SERVICE_HOST: '10.0.0.1' }, 30_000],
  ['knative', { KUBERNETES_SERVICE_HOST: '10.0.0.1', K_SERVICE: 'shop', K_REVISION: 'shop-1' }, 300_000],
  ['cloud-run', { K_SERVICE: 'shop', K_REVISION: 'shop-1' }, 10_000],
  ['ecs', { ECS_CONTAINER_METADATA_URI_V4: 'http://169.254.170.2/v4/1' }, 30_000],
  ['azure-container-apps', { CONTAINER_APP_NAME: 'shop' }, 30_000],
  ['azure-app-service', { WEBSITE_SITE_NAME: 'shop' }, 5000],
  ['fly', { FLY_APP_NAME: 'shop' }, 5000],
  ['heroku', { DYNO: 'web.1' }, 30_000],
  ['render', { RENDER: 'true' }, 30_000],
  ['railway', { RAILWAY_PROJECT_ID: '1' }, 0],
  ['railway', { RAILWAY_PROJECT_ID: '1', RAILWAY_DEPLOYMENT_DRAINING_SECONDS: '20' }, 20_000],
  ['railway', { RAILWAY_PROJECT_ID: '1', RAILWAY_DEPLOYMENT_DRAINING_SECONDS: '-5' }, 0],
  ['railway', { RAILWAY_PROJECT_ID: '1', RAILWAY_DEPLOYMENT_DRAINING_SECONDS: 'soon' }, 0],
  ['railway', { RAILWAY_PROJECT_ID: '1', RAILWAY_DEPLOYMENT_DRAINING_SECONDS: '3000000' }, 2 ** 31 - 1],
  ['railway', { RAILWAY_PROJECT_ID: '1', RAILWAY_DEPLOYMENT_DRAINING_SECONDS: 'Infinity' }, 2 ** 31 - 1],
  ['nomad', { NOMAD_ALLOC_ID: '1' }, 5000],
  ['pm2', { pm_id: '0' }, 1600],
  ['pm2', { pm_id: '0', kill_timeout: '30000' }, 30_000],
  ['pm2', { pm_id: '0', kill_timeout: '' }, 1600],
  ['pm2', { pm_id: '0', kill_timeout: '-1' }, 1600],
  ['supervisord', { SUPERVISOR_ENABLED: '1' }, 10_000],
  ['lambda', { AWS_LAMBDA_FUNCTION_NAME: 'shop' }, 300],
  ['github-actions', { GITHUB_ACTIONS: 'true' }, 2500],
  // Where two fit, the smaller one: too short a time is safe, too long a one is not.
  ['nomad', { KUBERNETES_SERVICE_HOST: '10.0.0.1', NOMAD_ALLOC_ID: '1' }, 5000],
] as const) {
  asChildAndPid1(`${nameOf(variables)}: ${platform}, ${gracePeriodMs} ms`, async (t, pid1) => {
    const told = await environmentOf(t, { pid1, env: variables })
    assert.deepEqual([told.platform, told.gracePeriodMs, told.gracePeriodSource], [platform, gracePeriodMs, 'platform'])
    assert.equal(await usedGracePeriod(t, { pid1, env: variables }), gracePeriodMs)
  })
}

for (const [what, script, isSystemds] of [
  ['its main process', 'SYSTEMD_EXEC_PID=$$ exec "$@"', true],
  ['a child of its main process', 'export SYSTEMD_EXEC_PID=$$; "$@"; exit $?', true],
  [
    'a program of a session that it started',
    'export SYSTEMD_EXEC_PID=$$; (:; sh -c \'"$@"; exit $?\' sh "$@"); exit $?',
    false,
  ],
  ['a program that inherits INVOCATION_ID alone', 'INVOCATION_ID=1 exec "$@"', false],
] as const) {
  test(`systemd and ${what}: ${isSystemds ? '45' : '10'} s`, async (t) => {
    const command = ['sh', '-c', script, 'sh', process.execPath, fixturePath('core/environment.js')]
    const { platform, gracePeriodMs } = await environmentOf(t, { command })
    assert.deepEqual([platform, gracePeriodMs], isSystemds ? ['systemd', 45_000] : [undefined, 10_000])
  })
}

test('docs/platforms.md has a row for every platform, with its name, its grace period and its variables', () => {
  const [undetected = [], ...rows] = tableIn('platforms.md', 'Platform')
  assert.deepEqual(undetected.slice(1, 4), ['–', '10 s', '–'])
  assert.deepEqual(
    rows.map(([, name]) => name),
    platforms.map(({ name }) => `\`${name}\``),
  )
  for (const [index, [, , gracePeriod = '', detectedBy = '']] of rows.entries()) {
    const names = [...detectedBy.matchAll(/`(\w+)`/g)].map(([, name = '']) => name)
    // What systemd's variable says is the pid of its service.
    const variables = Object.fromEntries(names.map((name) => [name, String(process.pid)]))
    const platform = findPlatform(variables)
    assert.equal(platform?.name, platforms[index]?.name)
    assert.equal(gracePeriod, `${Number(platform?.gracePeriodMs(variables)) / 1000} s`, platform?.name)
    for (const name of names) {
      assert.notEqual(findPlatform({ ...variables, [name]: undefined })?.name, platform?.name, name)
    }
  }
})

asChildAndPid1('where no platform is detected the grace period is 10 s', async (t, pid1) => {
  const told = await environmentOf(t, { pid1 })
  assert.deepEqual([told.gracePeriodMs, told.gracePeriodSource, told.platform], [10_000, 'default', undefined])
})

for (const [text, gracePeriodMs] of [
  ['10s', 10_000],
  ['1500ms', 1500],
  ['2.5s', 2500],
  ['0', 0],
  ['0.0', 0],
  [' 7s ', 7000],
  ['20 S', 20_000],
  ['300 MS', 300],
  ['5m', 300_000],
] as const) {
  asChildAndPid1(`PID1_GRACE_PERIOD="${text}" is ${gracePeriodMs} ms, whatever the platform`, async (t, pid1) => {
    const env = { PID1_GRACE_PERIOD: text, FLY_APP_NAME: 'shop' }
    const told = await environmentOf(t, { pid1, env })
    assert.deepEqual([told.gracePeriodMs, told.gracePeriodSource], [gracePeriodMs, 'environment'])
    assert.equal(await usedGracePeriod(t, { pid1, env }), gracePeriodMs)
  })
}

asChildAndPid1('configure() wins over PID1_GRACE_PERIOD and over the platform', async (t, pid1) => {
  const env = { PID1_GRACE_PERIOD: '20s', FLY_APP_NAME: 'shop' }
  const told = await environmentOf(t, { pid1, env, args: [JSON.stringify({ gracePeriodMs: 3000 })] })
  assert.deepEqual([told.gracePeriodMs, told.gracePeriodSource], [3000, 'configure'])
})

for (const [variables, container] of [
  [{ KUBERNETES_SERVICE_HOST: '10.0.0.1' }, 'kubernetes'],
  [{ container: 'podman', KUBERNETES_SERVICE_HOST: '' }, 'podman'],
] as const) {
  asChildAndPid1(`${Object.keys(variables).join()}: the container is ${container}`, async (t, pid1) => {
    const told = await environmentOf(t, { pid1, env: variables })
    assert.equal(told.container, container)
  })
}

asChildAndPid1('the environment says whether the process is PID 1, and otherwise which program is', async (t, pid1) => {
  const told = await environmentOf(t, { pid1 })
  assert.equal(told.pid1, pid1)
  assert.equal(told.init, pid1 ? undefined : readFileSync('/proc/1/comm', 'utf8').trim())
  const native = new URL(`../dist/native/linux-${process.arch}.node`, import.meta.url)
  assert.equal(told.native, existsSync(native))
  if (pid1) assert.equal(told.warnings.length, told.native ? 0 : 1)
})

/** The names of variables, with their values where these decide. */
function nameOf(variables: Readonly<Record<string, string>>): string {
  return Object.entries(variables)
    .map(([name, value]) => (/TIMEOUT|SECONDS/i.test(name) ? `${name}=${value}` : name))
    .join(' and ')
}

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
