import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test, type TestContext } from 'node:test'
import { build } from 'esbuild'
import * as pid1 from 'pid1'
import { installPid1, makeInstalledApp, projectFolder } from './helpers/installed-app.ts'
import { asChildAndPid1, type Ended, type Run, type RunOptions, start } from './helpers/run.ts'

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
    'undrain',
    'waitUntil',
  ])
})

test('the tarball contains the build, the licence, the README and the changelog, and nothing else', () => {
  // The entry points' declarations, and what they import.
  const types = new Set(['index.d.ts', 'fastify.d.ts', 'register.d.ts'])
  for (const file of types) {
    const imports = readFileSync(join(unpacked, 'dist', file), 'utf8').matchAll(/from '(\.[^']+)\.ts'/g)
    for (const [, path = ''] of imports) types.add(`${join(dirname(file), path)}.d.ts`)
  }
  const modules = ['index.js', 'fastify.js', 'register.js'].flatMap((file) => [file, `${file}.map`])
  // Both where the cross compiler is there too, as in CI.
  const native = readdirSync(join(projectFolder, 'dist', 'native')).map((file) => `native/${file}`)
  const built = [...modules, ...types, ...native].map((file) => `dist/${file}`)
  const expected = [...built, 'dist/cli.js', 'dist/cli.js.map', 'CHANGELOG.md', 'LICENSE', 'README.md', 'package.json']
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
    'pid1/register found',
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

test('copies share one shutdown by a key that has the major version', () => {
  const { version } = JSON.parse(readFileSync(join(projectFolder, 'package.json'), 'utf8')) as { version: string }
  assert.ok(Symbol.for(`pid1@${version.split('.')[0]}`) in globalThis)
})

asChildAndPid1('import, require and a bundle with a copy share one shutdown', async (t, asPid1) => {
  const app = installApp(t)
  await build({
    entryPoints: [join(unpacked, 'dist', 'index.js')],
    nodePaths: [join(projectFolder, 'node_modules')],
    outfile: join(app, 'bundle.cjs'),
    bundle: true,
    platform: 'node',
    format: 'cjs',
    logLevel: 'error',
  })
  const args = ['import pid1', 'require pid1', 'require ./bundle.cjs', 'import dependency']
  const ended = await stopCopies(t, { pid1: asPid1, args }, app)
  assert.deepEqual([ended.code, ended.signal, ended.stderr], [0, null, ''])
  assert.match(ended.stdout, /^same true true\n(hook ran \d\n){4}left with 0\n$/)
})

for (const format of ['esm', 'cjs'] as const) {
  test(`a bundle (${format}) finds the native part beside it`, async (t) => {
    const app = installApp(t)
    const bundle = join(app, `app.${format === 'esm' ? 'mjs' : 'cjs'}`)
    await build({
      stdin: { contents: `import { environment } from 'pid1'; console.log(environment().native)`, resolveDir: app },
      nodePaths: [join(projectFolder, 'node_modules')],
      outfile: bundle,
      bundle: true,
      platform: 'node',
      format,
      logLevel: 'error',
      banner:
        format === 'cjs'
          ? {}
          : { js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);` },
    })
    cpSync(join(unpacked, 'dist', 'native'), join(app, 'native'), { recursive: true })
    rmSync(join(app, 'node_modules'), { recursive: true })
    const ended = await start(t, '', { command: [process.execPath, bundle] }).ended
    assert.deepEqual([ended.code, ended.stderr, ended.stdout], [0, '', 'true\n'])
  })
}

asChildAndPid1(
  'an older copy that was loaded first lacks a function: one shutdown, and one line',
  async (t, asPid1) => {
    const app = installApp(t)
    const file = join(app, 'node_modules', 'dependency', 'node_modules', 'pid1', 'dist', 'index.js')
    const built = readFileSync(file, 'utf8')
    assert.match(built, /^ +superviseChild,$/m)
    // It still exports the name, as its own function.
    const older = built.replace(/^ +superviseChild,$/m, '').replace('= api.superviseChild', '= superviseChild')
    writeFileSync(file, older)
    const ended = await stopCopies(t, { pid1: asPid1, args: ['import dependency', 'import pid1'] }, app)
    assert.deepEqual([ended.code, ended.signal], [0, null])
    assert.match(ended.stderr, /^pid1: an older copy [^\n]*`npm ls pid1`[^\n]*\n$/)
    const lines = ended.stdout.trim().split('\n')
    assert.deepEqual([lines.shift(), lines.pop()], ['same true true', 'left with 0'])
    assert.deepEqual(lines.toSorted(), ['hook ran 0', 'hook ran 1'])
  },
)

for (const [value, complains] of [
  ["'pid1': { value: 'mine' }", false],
  ["'pid1@0': { value: 'mine' }", true],
  ["'pid1@0': { value: { onShutdown: 1 } }", true],
  ["'pid1@0': { get() { throw new Error('mine') } }", true],
] as const) {
  asChildAndPid1(`another value is at the global symbol of the package: ${value}`, async (t, asPid1) => {
    const app = installApp(t)
    const [name = '', descriptor = ''] = value.split(/: (.*)/)
    writeFileSync(join(app, 'taken.mjs'), `Object.defineProperty(globalThis, Symbol.for(${name}), ${descriptor})`)
    const nodeArgs = ['--import', './taken.mjs']
    const ended = await stopCopies(t, { pid1: asPid1, args: ['import pid1'], nodeArgs }, app)
    assert.deepEqual([ended.code, ended.signal], [0, null])
    assert.match(ended.stderr, complains ? /^pid1: copies of this package [^\n]*\n$/ : /^$/)
    assert.equal(ended.stdout, 'same true true\nhook ran 0\nleft with 0\n')
  })
}

async function stopCopies(t: TestContext, options: RunOptions, app: string): Promise<Ended> {
  const run = startInApp(t, 'copies.js', options, app)
  await run.line(/same/)
  run.signal('SIGTERM')
  return run.ended
}

asChildAndPid1('CommonJS can require the package', async (t, asPid1) => {
  const run = startInApp(t, 'required.cjs', { pid1: asPid1 })
  assert.equal((await run.line(/ready .+/))[0], `ready ${String(asPid1)} function pid1`)
  run.signal('SIGTERM')
  const ended = await run.ended
  assert.deepEqual([ended.code, ended.signal, ended.stderr], [0, null, ''])
  assert.match(ended.stdout, /hook ran SIGTERM/)
})

asChildAndPid1(
  'an import listens to nothing but listeners, and as PID 1 to the two signals that would be lost',
  async (t, asPid1) => {
    const { code, signal, stdout, stderr } = await startInApp(t, 'import-only.js', { pid1: asPid1 }).ended
    assert.deepEqual([code, signal, stderr], [0, null, ''])
    assert.equal(stdout, `listeners [${asPid1 ? '"SIGINT","SIGTERM",' : ''}"newListener"]\nuntouched true\n`)
  },
)

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

asChildAndPid1('DEBUG=pid1:* prints debug lines, even if the process exits at once', async (t, asPid1) => {
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
