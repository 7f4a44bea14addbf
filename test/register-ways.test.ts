import assert from 'node:assert/strict'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { build } from 'esbuild'
import { stopBusy } from './helpers/busy.ts'
import { installPid1, linkModule, makeInstalledApp } from './helpers/installed-app.ts'
import { assertStoppedWell } from './helpers/report.ts'
import { asChildAndPid1, start } from './helpers/run.ts'

// The ways in which `pid1/register` gets into an app.

const byName = '--import pid1/register'

const starts: readonly (readonly [what: string, args: readonly string[], options?: string])[] = [
  ['--import, an ES module', ['--import', 'pid1/register', 'ends.js', 'exits with 0']],
  ['--import, CommonJS', ['--import', 'pid1/register', 'server.cjs']],
  ['--require, an ES module', ['--require', 'pid1/register', 'ends.js', 'exits with 0']],
  ['--require, CommonJS', ['--require', 'pid1/register', 'server.cjs']],
  ['NODE_OPTIONS, an ES module', ['ends.js', 'exits with 0'], byName],
  ['NODE_OPTIONS, CommonJS', ['server.cjs'], byName],
  ['NODE_OPTIONS with the path of the file', ['server.cjs'], '--import ./node_modules/pid1/dist/register.js'],
  ['NODE_OPTIONS, twice', ['--require', 'pid1/register', 'server.cjs'], `${byName} ${byName}`],
  ['NODE_OPTIONS, a bundle by esbuild, an ES module', ['bundle.mjs', 'exits with 0'], byName],
  ['NODE_OPTIONS, a bundle by esbuild, CommonJS', ['bundle.cjs'], byName],
  ['NODE_OPTIONS, the command tsx', ['node_modules/tsx/dist/cli.mjs', 'server.cts'], byName],
  ['NODE_OPTIONS, the loader tsx', ['--import', 'tsx', 'server.cts'], byName],
  ['NODE_OPTIONS, node --watch', ['--watch', 'server.cjs'], byName],
]

for (const [what, args, options] of starts) {
  asChildAndPid1(`register by ${what}: no request of 200 busy clients is lost`, async (t, pid1) => {
    const cwd = await makeApp(t)
    const env = options === undefined ? {} : { NODE_OPTIONS: options }
    const { ended, lost, statuses } = await stopBusy(t, '', { command: [process.execPath, ...args], cwd, pid1, env })
    // Where tsx is PID 1 its child is told by pid1. Else tsx exits by itself with 128 + n if its child tells it late of the signal.
    if (what.endsWith('the command tsx') && !pid1) assert.ok([0, 143].includes(ended.code ?? 1), ended.stderr)
    else assertStoppedWell(ended)
    assert.deepEqual([lost, Object.keys(statuses)], [0, ['200']])
  })
}

for (const [how, expected] of [
  ['alone', '1 drain, 200 drained'],
  ['drains', '1 drain, 200 drained'],
] as const) {
  asChildAndPid1(
    `register with an app that imports pid1 too is one drain, and pid1 ends it (${how})`,
    async (t, pid1) => {
      const cwd = await makeApp(t)
      const command = [process.execPath, '--import', 'pid1/register', 'aware.js', how]
      const { ended, lost } = await stopBusy(t, '', { command, cwd, pid1 })
      assertStoppedWell(ended)
      assert.match(ended.stdout, new RegExp(`\\nlistener\\ndatabase\\n${expected}\\n$`))
      assert.equal(lost, 0)
    },
  )
}

asChildAndPid1('register beside another version that the app imports: one copy, one drain', async (t, pid1) => {
  const cwd = await makeApp(t)
  const other = join(cwd, 'service')
  cpSync(join(cwd, 'aware.js'), join(other, 'aware.js'))
  installPid1(other)
  const manifest = join(other, 'node_modules', 'pid1', 'package.json')
  writeFileSync(manifest, readFileSync(manifest, 'utf8').replace('"version": "', '"version": "9.'))
  const command = [process.execPath, '--import', 'pid1/register', 'service/aware.js', 'drains']
  const { ended, lost } = await stopBusy(t, '', { command, cwd, pid1 })
  assertStoppedWell(ended)
  assert.match(ended.stdout, /\nlistener\ndatabase\n1 drain, 200 drained\n$/)
  assert.equal(lost, 0)
})

test('register after an older version that knows nothing of it: a clear error', async (t) => {
  const cwd = await makeApp(t)
  writeFileSync(
    join(cwd, 'older.mjs'),
    "Object.defineProperty(globalThis, Symbol.for('pid1@0'), { value: { onShutdown() {}, shutdown() {}, configure() {} } })",
  )
  const command = [process.execPath, '--import', './older.mjs', '--import', 'pid1/register', 'server.cjs']
  const ended = await start(t, '', { command, cwd }).ended
  assert.notEqual(ended.code, 0)
  assert.match(ended.stderr, /Expected the first copy of pid1 .* install one version/)
})

async function makeApp(t: TestContext): Promise<string> {
  const folder = makeInstalledApp(t, 'register')
  installPid1(folder)
  linkModule(folder, 'tsx')
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  const common = { bundle: true, platform: 'node', logLevel: 'error', absWorkingDir: folder } as const
  await build({ ...common, entryPoints: ['server.cts'], outfile: 'server.cjs', format: 'cjs' })
  await build({ ...common, entryPoints: ['server.cts'], outfile: 'bundle.cjs', format: 'cjs', minify: true })
  await build({ ...common, entryPoints: ['ends.js'], outfile: 'bundle.mjs', format: 'esm', minify: true })
  return folder
}
