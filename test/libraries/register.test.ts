import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { stopBusy } from '../helpers/busy.ts'
import { makeFolder } from '../helpers/folder.ts'
import { startClients } from '../helpers/load.ts'
import { freePort } from '../helpers/ports.ts'
import { assertEnded } from '../helpers/report.ts'
import { asChildAndPid1, asPid1, fixturePath } from '../helpers/run.ts'

// `pid1/register` with what starts an app, and with libraries that end one. Each control is the same without it.

const folder = fileURLToPath(new URL('.', import.meta.url))
const modules = join(folder, 'node_modules')
const register = `--import ${fileURLToPath(new URL('../../dist/register.js', import.meta.url))}`

const managers = {
  'npm 10': 'npm-10/bin/npm-cli.js',
  'npm 11': 'npm-11/bin/npm-cli.js',
  'pnpm 10': 'pnpm/bin/pnpm.cjs',
  'yarn 1': 'yarn/bin/yarn.js',
  'yarn 4': '@yarnpkg/cli-dist/bin/yarn.js',
} as const
type Manager = keyof typeof managers

const scripts = {
  start: 'node ends.js "sets the exit code"',
  'start:two': 'node ends.js "exits with 0" && node after.js && echo after',
  'start:stuck': 'node ends.js "never ends"',
}

for (const manager of Object.keys(managers) as Manager[]) {
  // Yarn 4 has a shell of its own.
  for (const shell of manager === 'yarn 4' ? ['its own shell'] : ['/bin/dash', '/bin/bash']) {
    asPid1(`register: ${manager} with ${shell} passes SIGTERM on, waits, and ends with the app's code`, async (t) => {
      const { ended, lost, statuses } = await stopManager(t, manager, 'start', shell)
      assertEnded(ended, 5)
      assert.match(ended.stdout, /\ndatabase closed\nexit 5\n/)
      assert.doesNotMatch(ended.stderr, /^pid1:/m)
      assert.deepEqual([lost, Object.keys(statuses)], [0, ['200']])
    })

    asPid1(`register: ${manager} with ${shell} goes on with the next command of the script`, async (t) => {
      const { ended, lost } = await stopManager(t, manager, 'start:two', shell)
      assertEnded(ended, 0)
      assert.match(ended.stdout, /\nexit 0\nreported\nafter\n/)
      assert.equal(lost, 0)
    })

    asPid1(`register: ${manager} with ${shell} waits until the deadline of the app`, async (t) => {
      const { ended, lost } = await stopManager(t, manager, 'start:stuck', shell)
      assertEnded(ended, 124)
      assert.match(ended.stderr, /^pid1: the SIGTERM listener of .*ends\.js:\d+:\d+ did not end the process/m)
      assert.ok(ended.ms < 3990, `${ended.ms} ms`)
      assert.equal(lost, 0)
    })
  }

  asPid1(`${manager} loses requests: the control`, async (t) => {
    const { lost, statuses } = await stopManager(t, manager, 'start', '/bin/dash', false)
    assert.ok(lost > 0 || statuses['500'] !== undefined)
  })
}

const peers = ['terminus', 'http-terminator', 'close-with-grace']

for (const peer of peers) {
  asChildAndPid1(`register: an app with ${peer} loses no request of 200 busy clients`, async (t, pid1) => {
    const { ended, lost } = await stopPeer(t, peer, pid1, register)
    assertEnded(ended, 0)
    assert.deepEqual([ended.stdout.replace(/listening \d+\n/, ''), ended.stderr], ['cleaned up\n', ''])
    assert.equal(lost, 0)
  })

  test(`an app with ${peer} loses requests: the control`, async (t) => {
    const { lost } = await stopPeer(t, peer, false, '')
    assert.ok(lost > 0)
  })
}

for (const preset of ['node-server', 'node-cluster']) {
  asChildAndPid1(`register: Nitro's output (${preset}) loses no request of 200 busy clients`, async (t, pid1) => {
    const { ended, lost, statuses } = await stopNitro(t, preset, pid1, register)
    assertEnded(ended, 0)
    assert.equal(ended.stderr, '')
    assert.deepEqual([lost, Object.keys(statuses)], [0, ['200']])
  })

  test(`Nitro's output (${preset}) loses requests: the control`, async (t) => {
    const { lost } = await stopNitro(t, preset, false, '')
    assert.ok(lost > 0)
  })
}

for (const [mode, command] of [
  ['cluster', 'reload'],
  ['cluster', 'stop'],
  ['fork', 'stop'],
] as const) {
  for (const [what, options] of [
    ['loses no request', register],
    ['alone loses requests: the control', ''],
  ] as const) {
    test(`register: pm2 ${command} in ${mode} mode ${what}`, async (t) => {
      const { lost, refused } = await runPm2(t, mode, command, options)
      if (options === '') return assert.ok(lost > 0)
      assert.equal(lost, 0)
      if (command === 'reload') assert.equal(refused, 0)
    })
  }
}

async function stopManager(t: TestContext, manager: Manager, script: string, shell: string, withRegister = true) {
  const cwd = makeFolder(t)
  cpSync(fixturePath('register/ends.js'), join(cwd, 'ends.js'))
  writeFileSync(join(cwd, 'after.js'), "setTimeout(() => console.log('reported'), 300)")
  writeFileSync(join(cwd, 'package.json'), JSON.stringify({ name: 'app', version: '1.0.0', type: 'module', scripts }))
  writeFileSync(join(cwd, 'yarn.lock'), manager === 'yarn 4' ? yarnLock : '')
  if (manager === 'yarn 4')
    writeFileSync(join(cwd, '.yarnrc.yml'), 'nodeLinker: node-modules\nenableTelemetry: false\n')
  const env = {
    HOME: cwd,
    ...(manager === 'yarn 4' ? {} : { npm_config_script_shell: shell, npm_config_update_notifier: 'false' }),
    ...(withRegister ? { NODE_OPTIONS: register } : {}),
  }
  const command = [process.execPath, join(modules, managers[manager]), 'run', script]
  return stopBusy(t, '', { command, cwd, env, pid1: true, ...(withRegister ? {} : { killAfterMs: 1000 }) })
}

const yarnLock = `__metadata:
  version: 10
  cacheKey: 10c0

"app@workspace:.":
  version: 0.0.0-use.local
  resolution: "app@workspace:."
  languageName: unknown
  linkType: soft
`

async function stopPeer(t: TestContext, peer: string, pid1: boolean, options: string) {
  const command = [process.execPath, 'unaware.js', peer]
  const env = { NODE_OPTIONS: options }
  return stopBusy(t, '', {
    command,
    cwd: join(folder, 'apps'),
    pid1,
    env,
    ...(options === '' ? { killAfterMs: 2000 } : {}),
  })
}

/** Built in a folder of its own, whose packages are those of this folder. */
async function stopNitro(t: TestContext, preset: string, pid1: boolean, options: string) {
  const cwd = makeFolder(t)
  cpSync(join(folder, 'apps', 'nitro'), cwd, { recursive: true })
  writeFileSync(join(cwd, 'package.json'), '{ "type": "module" }')
  symlinkSync(modules, join(cwd, 'node_modules'))
  const nitro = join(modules, 'nitropack', 'dist', 'cli', 'index.mjs')
  execFileSync(process.execPath, [nitro, 'build'], { cwd, env: { ...process.env, PRESET: preset }, stdio: 'pipe' })
  const port = await freePort()
  const env = { NODE_OPTIONS: options, PORT: String(port), HOST: '127.0.0.1', NITRO_CLUSTER_WORKERS: '2' }
  const command = [process.execPath, '.output/server/index.mjs']
  const listens = { port, saying: /Listening on/ }
  return stopBusy(t, '', { command, cwd, pid1, env, listens, ...(options === '' ? { killAfterMs: 1000 } : {}) })
}

async function runPm2(t: TestContext, mode: 'cluster' | 'fork', command: string, options: string) {
  const cwd = makeFolder(t)
  mkdirSync(join(cwd, 'home'))
  const port = await freePort()
  cpSync(join(folder, 'apps', 'pm2.js'), join(cwd, 'app.js'))
  writeFileSync(join(cwd, 'package.json'), '{ "type": "module" }')
  const { PATH } = process.env
  const env = { PATH, HOME: cwd, PM2_HOME: join(cwd, 'home'), PORT: String(port), NODE_OPTIONS: options }
  const pm2 = (...args: readonly string[]) =>
    spawnSync(process.execPath, [join(modules, 'pm2', 'bin', 'pm2'), ...args], { cwd, env, encoding: 'utf8' })
  t.after(() => pm2('kill'))
  const instances = mode === 'cluster' ? ['--instances', '2'] : []
  pm2('start', 'app.js', '--name', 'app', '--merge-logs', '--kill-timeout', '5000', ...instances)
  const log = join(cwd, 'home', 'logs', 'app-out.log')
  const wanted = mode === 'cluster' ? 2 : 1
  const listening = () => readText(log).match(/listening/g)?.length ?? 0
  for (const since = performance.now(); listening() < wanted; await wait(20)) {
    assert.ok(performance.now() - since < 20_000, readText(log))
  }
  const clients = await startClients(t, port, { clients: 200, thinkMs: 5 })
  pm2(command, 'app')
  clients.stop()
  return clients.counted
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
