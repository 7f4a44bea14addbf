import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test, type TestContext } from 'node:test'
import * as pid1 from 'pid1'
import { installPid1, makeInstalledApp, projectFolder } from './helpers/installed-app.ts'
import { asChildAndPid1, type Run, type RunOptions, start } from './helpers/run.ts'

// Every test but that of the names uses what npm would publish, not what lies in the tree.
let temporary = ''
let unpacked = ''
let packed: readonly string[] = []

before(() => {
  temporary = mkdtempSync(join(tmpdir(), 'packed-'))
  execFileSync('npm', ['pack', '--ignore-scripts', '--pack-destination', temporary], {
    cwd: projectFolder,
    stdio: 'pipe',
  })
  const tarball = readdirSync(temporary).find((file) => file.endsWith('.tgz')) ?? ''
  const listed = execFileSync('tar', ['-xvzf', tarball], { cwd: temporary, encoding: 'utf8' })
  packed = listed.trim().split('\n')
  unpacked = join(temporary, 'package')
})
after(() => rmSync(temporary, { recursive: true, force: true }))

test('the package exports its public names and no other', () => {
  assert.deepEqual(Object.keys(pid1).toSorted(), [
    'Pid1Error',
    'configure',
    'drainOnShutdown',
    'environment',
    'isPid1',
    'isShuttingDown',
    'onExit',
    'onShutdown',
    'shutdown',
    'shutdownSignal',
    'superviseChild',
  ])
})

test('the tarball holds the build and its papers, and nothing else', () => {
  const sources = readdirSync(join(projectFolder, 'src'), { recursive: true, encoding: 'utf8' })
  const types = sources.filter((file) => file.endsWith('.ts')).map((file) => file.replace(/\.ts$/, '.d.ts'))
  const modules = ['index.js', 'fastify.js'].flatMap((file) => [file, `${file}.map`])
  // Both where the cross compiler is there too, as in CI.
  const native = readdirSync(join(projectFolder, 'dist', 'native')).map((file) => `native/${file}`)
  const built = [...modules, ...types, ...native].map((file) => `dist/${file}`)
  const expected = [...built, 'CHANGELOG.md', 'LICENSE', 'README.md', 'package.json']
  assert.deepEqual(packed.toSorted(), expected.map((file) => `package/${file}`).toSorted())
})

test('the package has three dependencies and runs nothing when it is installed', () => {
  const manifest: Record<string, object> = JSON.parse(readFileSync(join(unpacked, 'package.json'), 'utf8'))
  assert.deepEqual(Object.keys(manifest['dependencies'] ?? {}).toSorted(), ['debug', 'p-timeout', 'signal-exit'])
  for (const key of ['optionalDependencies', 'peerDependencies', 'bundleDependencies', 'gypfile']) {
    assert.equal(manifest[key], undefined, key)
  }
  const scripts = Object.keys(manifest['scripts'] ?? {}).join(' ')
  assert.doesNotMatch(scripts, /\b(preinstall|install|postinstall|prepare)\b/)
})

test('the subpaths are found, and what is private is not', async (t) => {
  const ended = await startInApp(t, 'subpaths.js').ended
  assert.deepEqual(ended.stdout.trim().split('\n'), [
    'pid1 found',
    'pid1/fastify found',
    'pid1/package.json found',
    'pid1/dist/index.js ERR_PACKAGE_PATH_NOT_EXPORTED',
    'pid1/shutdown ERR_PACKAGE_PATH_NOT_EXPORTED',
  ])
})

asChildAndPid1('two copies of the package share one shutdown', async (t, asPid1) => {
  const one = startInApp(t, 'two-copies.js', { pid1: asPid1, args: ['pid1'] })
  const two = startInApp(t, 'two-copies.js', { pid1: asPid1, args: ['dependency'] })
  const [once] = await Promise.all([one.line(/listeners .+/), one.port(), two.port()])
  assert.ok(await two.line(/other copy true/))
  assert.equal((await two.line(/listeners .+/))[0], once[0], 'handlers are installed once')
  two.signal('SIGTERM')
  one.signal('SIGTERM')
  const [ended] = await Promise.all([two.ended, one.ended])
  assert.deepEqual([ended.code, ended.signal, ended.stderr], [0, null, ''])
  assert.match(ended.stdout, /one signal true/)
  assert.deepEqual(ended.stdout.match(/\w+ ran \w+/g), ['theirs ran true', 'ours ran true'])
  assert.deepEqual(ended.stdout.match(/drained \d+/g), ['drained 0'])
})

asChildAndPid1('CommonJS can require the package', async (t, asPid1) => {
  const run = startInApp(t, 'required.cjs', { pid1: asPid1 })
  assert.equal((await run.line(/ready .+/))[0], `ready ${String(asPid1)} function pid1`)
  run.signal('SIGTERM')
  const ended = await run.ended
  assert.deepEqual([ended.code, ended.signal, ended.stderr], [0, null, ''])
  assert.match(ended.stdout, /hook ran SIGTERM/)
})

asChildAndPid1('an import changes nothing but for the two signals that PID 1 would lose', async (t, asPid1) => {
  const { code, signal, stdout, stderr } = await startInApp(t, 'import-only.js', { pid1: asPid1 }).ended
  assert.deepEqual([code, signal, stderr], [0, null, ''])
  assert.equal(stdout, `listeners ${asPid1 ? '["SIGINT","SIGTERM"]' : '[]'}\nuntouched true\n`)
})

for (const allowed of ['everything', 'the app alone']) {
  asChildAndPid1(`under the permission model, with ${allowed} readable, nothing throws`, async (t, asPid1) => {
    const app = installApp(t)
    const readable = allowed === 'everything' ? '*' : join(app, '*')
    const nodeArgs = [...permissionFlags(), `--allow-fs-read=${readable}`]
    const run = startInApp(t, 'no-permission.js', { pid1: asPid1, nodeArgs }, app)
    await run.port()
    run.signal('SIGTERM')
    const ended = await run.ended
    assert.deepEqual([ended.code, ended.signal, ended.stderr], [0, null, ''])
    assert.match(ended.stdout, /restricted true number\n[^]*hook ran\nlast words 0 null\n/)
  })
}

asChildAndPid1('DEBUG=pid1:* prints what happens, also where the end comes at once', async (t, asPid1) => {
  const run = startInApp(t, 'debug-lines.js', { pid1: asPid1, env: { DEBUG: 'pid1:*' } })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assert.deepEqual([ended.code, ended.signal], [0, null])
  assert.match(ended.stderr, /pid1:\w+ .*SIGTERM/)
})

asChildAndPid1('without DEBUG nothing is printed, and debug is not even loaded', async (t, asPid1) => {
  const run = startInApp(t, 'debug-lines.js', { pid1: asPid1 })
  await run.line(/ready/)
  run.signal('SIGTERM')
  const ended = await run.ended
  assert.deepEqual([ended.code, ended.signal, ended.stderr], [0, null, ''])
  assert.equal(ended.stdout, 'ready\ndebug loaded false, which would be seen true\n')
})

/** An app that the tarball was installed into, twice: the other copy is its dependency's. */
function installApp(t: TestContext): string {
  const app = makeInstalledApp(t, 'package')
  const dependency = join(app, 'node_modules', 'dependency')
  installPid1(app, unpacked)
  renameSync(join(app, 'dependency'), dependency)
  installPid1(dependency, unpacked)
  return app
}

function startInApp(t: TestContext, file: string, options: RunOptions = {}, app: string = installApp(t)): Run {
  // Some Node lines warn of require() of ESM and of the permission model.
  const nodeArgs = ['--disable-warning=ExperimentalWarning', ...(options.nodeArgs ?? [])]
  const command = [process.execPath, ...nodeArgs, join(app, file), ...(options.args ?? [])]
  return start(t, file, { ...options, command, cwd: app })
}

/** The model's flag, which lost its prefix; from Node 25 on it also restricts the network, which is not meant here. */
function permissionFlags(): string[] {
  const isKnown = (flag: string) => process.allowedNodeEnvironmentFlags.has(flag)
  const model = isKnown('--permission') ? '--permission' : '--experimental-permission'
  return isKnown('--allow-net') ? [model, '--allow-net'] : [model]
}
