import assert from 'node:assert/strict'
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { installPid1, linkModule, makeInstalledApp, moduleFolder, projectFolder } from './helpers/installed-app.ts'
import { type Ended, fixturePath, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

interface Framework {
  readonly name: string
  readonly folder: string
  readonly command: readonly string[]
  /** What the app's tests import. */
  readonly module?: string
}

const frameworks: readonly Framework[] = [
  { name: 'node:test', folder: 'node-test', command: ['--test'] },
  { name: 'Vitest with threads', ...vitest('threads') },
  { name: 'Vitest with forks', ...vitest('forks') },
  { name: 'AVA with threads', ...ava() },
  { name: 'AVA with processes', ...ava('--no-worker-threads') },
  ...(isJestRequiringEsm() ? [{ name: 'Jest', ...jest() }] : []),
]

for (const framework of frameworks) {
  test(`an app's tests pass in ${framework.name}`, async (t) => {
    const ended = await runTests(t, framework, /^(passing|shutdown)\.test\./)
    assert.equal(ended.code, 0, ended.stdout + ended.stderr)
    assert.match(ended.stdout + ended.stderr, /\b(pass 2|2 passed|2 tests passed)\b/)
    assertLeftQuietly(ended)
  })

  test(`an app's failing test fails in ${framework.name}`, async (t) => {
    const ended = await runTests(t, framework, /^(passing|failing)\.test\./)
    assert.equal(ended.code, 1, ended.stdout + ended.stderr)
    assert.match(ended.stdout + ended.stderr, /\b(fail 1|1 failed|1 test failed)\b/)
    assert.match(ended.stdout + ended.stderr, /goodbye/)
    assertLeftQuietly(ended)
  })
}

test('the tests that docs/testing.md shows pass', async (t) => {
  const app = makeInstalledApp(t, 'docs')
  installPid1(app)
  const page = readFileSync(join(projectFolder, 'docs', 'testing.md'), 'utf8')
  const files = [...page.matchAll(/^```js\n\/\/ (\S+)\n([^]*?)^```$/gm)].map(([, file = '', code = '']) => {
    writeFileSync(join(app, file), code)
    return file
  })
  const tests = files.filter((file) => file.endsWith('.test.js'))
  const ended = await start(t, '', { command: [process.execPath, '--test', ...tests], cwd: app }).ended
  assert.equal(ended.code, 0, ended.stdout + ended.stderr)
  assert.match(ended.stdout, /\bpass 2\b/)
})

async function runTests(t: TestContext, { folder, command, module }: Framework, wanted: RegExp): Promise<Ended> {
  const app = makeInstalledApp(t, join('frameworks', folder))
  copyFileSync(fixturePath('frameworks/app.js'), join(app, 'app.js'))
  installPid1(app)
  if (module !== undefined) linkModule(app, module)
  const files = readdirSync(app).filter((file) => wanted.test(file))
  assert.equal(files.length, 2)
  // So long that whatever holds the process until the deadline is seen.
  const env = { PID1_GRACE_PERIOD: '60s' }
  return start(t, '', { command: [process.execPath, ...command, ...files], cwd: app, env }).ended
}

/** The library said nothing, and the runner had neither to wait for the process nor to end it. */
function assertLeftQuietly({ signal, stdout, stderr, ms }: Ended): void {
  assert.equal(signal, null)
  assert.doesNotMatch(stdout + stderr, /pid1|process\.exit|did not exit|timed out|hanging|forced|warning/i)
  assertTook(ms, { under: 20_000 })
}

function vitest(pool: string): Omit<Framework, 'name'> {
  const command = [join(moduleFolder('vitest'), 'vitest.mjs'), 'run', `--pool=${pool}`]
  return { folder: 'vitest', command, module: 'vitest' }
}

function ava(...options: readonly string[]): Omit<Framework, 'name'> {
  return { folder: 'ava', command: [join(moduleFolder('ava'), 'entrypoints', 'cli.mjs'), ...options], module: 'ava' }
}

function jest(): Omit<Framework, 'name'> {
  const nodeArgs = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning']
  return {
    folder: 'jest',
    command: [...nodeArgs, join(moduleFolder('jest'), 'bin', 'jest.js'), '--no-watchman', '--cacheDirectory=cache'],
  }
}

/** Node 24.9 brought what Jest needs to `require()` an ES module. */
function isJestRequiringEsm(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return major > 24 || (major === 24 && minor >= 9)
}
