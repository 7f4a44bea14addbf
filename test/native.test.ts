import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { installPid1, makeInstalledApp, projectFolder } from './helpers/installed-app.ts'
import { assertEnded } from './helpers/report.ts'
import { asChildAndPid1, fixturePath, skipBecause, start } from './helpers/run.ts'
import { pressCtrlC, startOnTerminal } from './helpers/terminal.ts'
import { exitCodeOfCtrlC, exitCodeOfTimeout } from '../src/exit/exit-code.ts'
import { burstMs } from '../src/signals/second-ctrl-c.ts'
import { heartbeatMs } from '../src/signals/watchdog.ts'

const headers = (createRequire(import.meta.url)('node-api-headers') as { include_dir: string }).include_dir
const built = join(projectFolder, 'dist', 'native')
const own = `linux-${process.arch}.node`

// All that an object may take from elsewhere: Node-API, and of the C library what glibc and musl have in one version.
const allowed = new Set(
  [
    'napi_create_double napi_create_function napi_get_cb_info napi_get_value_double napi_get_value_string_utf8',
    'napi_set_named_property napi_throw_error',
    '__errno_location close environ getsockname getsockopt listen prctl recv send setsockopt sigaction socket syscall',
    'memset', // which gcc calls on arm64
  ].flatMap((names) => names.split(' ')),
)

test(`${own} was built`, (t) => {
  // Where a compiler is missing the tests below would be none, and pass.
  if (!existsSync(join(built, own))) skipBecause(t, `no compiler was there for ${own}`)
})

test('two builds, in other folders and at other times, give identical bytes', async (t) => {
  const first = buildElsewhere(t, 'first')
  await wait(1100) // C writes times in whole seconds
  const second = buildElsewhere(t, join('second', 'further', 'down'))
  if (first.size === 0) return skipBecause(t, 'no compiler was there')
  assert.deepEqual(first, second)
  assert.deepEqual(first, readObjects(built))
})

test('native/pid1.c has the numbers of src/', () => {
  const source = readFileSync(join(projectFolder, 'native', 'pid1.c'), 'utf8')
  const numberOf = (name: string) => Number(new RegExp(`\\b${name} = (\\d+)[, ]`).exec(source)?.[1])
  assert.equal(numberOf('EXIT_TIMEOUT'), exitCodeOfTimeout)
  assert.equal(numberOf('EXIT_CTRL_C'), exitCodeOfCtrlC)
  assert.equal(numberOf('BURST_MS'), burstMs)
  assert.ok(numberOf('BLOCKED_MS') >= 2 * heartbeatMs, 'a loop that turns must not seem to be blocked')
})

const objects = existsSync(built) ? readdirSync(built) : []

for (const program of objects.filter((name) => name.startsWith('init-'))) {
  test(`${program} is linked with nothing`, () => {
    const headersOf = readElf(['--program-headers'], join(built, program)).join('\n')
    assert.match(headersOf, /\bLOAD\b/)
    assert.doesNotMatch(headersOf, /\b(INTERP|DYNAMIC)\b/)
    assert.doesNotMatch(/GNU_STACK.*/.exec(headersOf)?.[0] ?? ' RWE ', / RWE /)
  })
}

for (const object of objects.filter((name) => name.endsWith('.node'))) {
  test(`${object} needs no library, and no symbol that means two things`, () => {
    assert.deepEqual(faultsOf(join(built, object)), [])
  })
}

for (const [what, code, flag, faults] of [
  [
    'takes a symbol that glibc has in several versions',
    'int timer_create(void); int use(void) { return timer_create(); }',
    '-nostdlib',
    ['timer_create is not allowed', 'timer_create has several versions'],
  ],
  ['needs a library', '', '-Wl,--no-as-needed', ['needs libc.so.6']],
  ['has an executable stack', '', '-Wl,-z,execstack', ['the stack is executable']],
] as const) {
  test(`an object that ${what} is found out`, (t) => {
    if (!existsSync(join(built, own))) return skipBecause(t, `no compiler was there for ${own}`)
    const folder = mkdtempSync(join(tmpdir(), 'native-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    writeFileSync(join(folder, 'faulty.c'), code)
    execFileSync('gcc', ['-shared', '-nostartfiles', flag, 'faulty.c', '-o', own], { cwd: folder, stdio: 'pipe' })
    assert.deepEqual(faultsOf(join(folder, own)), faults)
  })
}

for (const [what, nodeArgs, content, isWarned, reason] of [
  ['none was built for the CPU', [], undefined, true, /cannot open shared object file/],
  ['the file is no object', [], 'a bundler has been here', true, /invalid ELF header|file too short/],
  ['--no-addons forbids it', ['--no-addons'], 'never read', false, /disabled/],
] as const) {
  asChildAndPid1(`where ${what} one debug line says why there is no native part`, async (t, pid1) => {
    const [app, object] = installApp(t)
    rmSync(object, { force: true })
    if (content !== undefined) writeFileSync(object, content)
    const command = [process.execPath, ...nodeArgs, app]
    const quiet = await start(t, '', { pid1, command }).ended
    assertEnded(quiet, 0)
    assert.equal(quiet.stdout, 'native false\n')
    const warning =
      /^pid1: the native part is missing, so orphans are not reaped and a blocked process is not ended: .+\n$/
    assert.match(quiet.stderr, pid1 && isWarned ? warning : /^$/)
    const curious = await start(t, '', { pid1, command, env: { DEBUG: 'pid1:native' } }).ended
    const lines = curious.stderr.split('\n').filter((line) => line.includes('pid1:native'))
    assert.equal(lines.length, 1, curious.stderr)
    assert.match(lines[0] ?? '', new RegExp(`absent on linux-${process.arch}: .*(${reason.source})`))
  })
}

asChildAndPid1('with the native part there is no debug line about it', async (t, pid1) => {
  const [app, object] = installApp(t)
  if (!existsSync(object)) return skipBecause(t, `no compiler was there for ${own}`)
  const ended = await start(t, '', { pid1, command: [process.execPath, app], env: { DEBUG: 'pid1:native' } }).ended
  assertEnded(ended, 0)
  assert.deepEqual([ended.stdout, ended.stderr], ['native true\n', ''])
})

for (const [signal, hook, code] of [
  ['SIGABRT', 'works', 0],
  ['SIGSEGV', 'works', 0],
  ['SIGBUS', 'works', 0],
  ['SIGILL', 'fails', 1],
] as const) {
  asChildAndPid1(
    `an addon that crashes at the exit by ${signal} does not change the exit code ${code}`,
    async (t, pid1) => {
      const addon = compile(t, 'crash.c', ['-shared', '-fPIC', `-I${headers}`, `-DWAY=${signal}`])
      const run = start(t, 'core/crashes-at-exit.js', { pid1, args: [addon, hook] })
      await run.line(/ready/)
      run.signal('SIGTERM')
      const ended = await run.ended
      assertEnded(ended, code)
      assert.equal(ended.stdout, `ready\nhook runs\nleaves with ${code}\n`)
      const line = `pid1: native code crashed during the exit (${signal}); the exit code stays ${code}\n`
      assert.ok(ended.stderr.endsWith(line), ended.stderr)
    },
  )
}

for (const [what, error, inside] of [
  ['timers are denied', 'EPERM', (t: TestContext) => [compile(t, 'deny.c', ['-DDENIED=SYS_timer_create'])]],
  ['timers cannot be set', 'EPERM', (t: TestContext) => [compile(t, 'deny.c', ['-DDENIED=SYS_timer_settime'])]],
  ['no signal may be pending', 'EAGAIN', () => ['prlimit', '--sigpending=0']],
  ['all is allowed', undefined, () => []],
] as const) {
  asChildAndPid1(`where ${what} the environment says whether the watchdog is armed`, async (t, pid1) => {
    const run = start(t, 'core/unarmed.js', { pid1, inside: inside(t) })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 0)
    const [json = ''] = ended.stdout.split('\n')
    const { warnings, caught } = JSON.parse(json) as { warnings: string[]; caught: number }
    const unarmed = warnings.filter((warning) => warning.startsWith('The watchdog cannot be armed'))
    assert.equal(unarmed.length, error === undefined ? 0 : 1, json)
    if (error !== undefined) assert.match(unarmed[0] ?? '', new RegExp(`\\(${error}\\)`))
    assert.equal(caught, error === undefined ? 1 : 0)
    assert.match(ended.stdout, /hook runs\n$/)
  })
}

test('where a process cannot become a subreaper the environment says that orphans are not reaped', async (t) => {
  const inside = [compile(t, 'deny.c', ['-DDENIED=SYS_prctl'])]
  const ended = await start(t, 'core/environment.js', { inside, args: ['{"reap":true}'] }).ended
  assertEnded(ended, 0)
  const { warnings } = JSON.parse(ended.stdout) as { warnings: string[] }
  assert.equal(warnings.length, 1, ended.stdout)
  assert.match(warnings[0] ?? '', /^Orphans are not reaped, .*\(EPERM\)/)
})

test('without a timer a second Ctrl-C still ends a process whose loop is blocked', async (t) => {
  const options = JSON.stringify({ how: 'an endless loop', when: 'before the signal' })
  const command = ['prlimit', '--sigpending=0', process.execPath, fixturePath('core/blocked.js'), `'${options}'`]
  const run = startOnTerminal(t, command)
  await run.line(/ready/)
  run.stdin.write('\u0003')
  await run.line(/\^C/)
  await wait(200)
  const ended = await pressCtrlC(run)
  assertEnded(ended, 130)
  assert.match(ended.stdout, /pid1: ended with 130: Ctrl-C during the shutdown/)
})

/** Returns the path of what was made of a C file among the fixtures. */
function compile(t: TestContext, source: string, options: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'native-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const output = join(folder, source.replace('.c', ''))
  execFileSync('gcc', [...options, fixturePath(`native/${source}`), '-o', output], { stdio: 'pipe' })
  return output
}

/** Builds a copy of the native part, with headers of its own, and returns the objects by their names. */
function buildElsewhere(t: TestContext, name: string): Map<string, string> {
  const folder = mkdtempSync(join(tmpdir(), 'native-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const project = join(folder, name)
  for (const part of ['native', 'package.json', join('node_modules', 'node-api-headers')]) {
    cpSync(join(projectFolder, part), join(project, part), { recursive: true })
  }
  execFileSync(process.execPath, [join('native', 'build.js')], { cwd: project, stdio: 'pipe' })
  return readObjects(join(project, 'dist', 'native'))
}

/** The digest of each object, by its name. */
function readObjects(folder: string): Map<string, string> {
  const digest = (name: string) => createHash('sha256').update(readFileSync(join(folder, name)))
  return new Map(readdirSync(folder).map((name) => [name, digest(name).digest('hex')]))
}

/** An app, and the native part that it would load. */
function installApp(t: TestContext): [app: string, object: string] {
  const app = makeInstalledApp(t, 'native/app')
  installPid1(app)
  return [join(app, 'environment.js'), join(app, 'node_modules', 'pid1', 'dist', 'native', own)]
}

/** What keeps an object from being one file for every Linux of its CPU. */
function faultsOf(object: string): string[] {
  const dynamic = readElf(['--dynamic'], object)
  const needed = dynamic.flatMap((line) => /\(NEEDED\).*\[(.+)\]/.exec(line)?.[1] ?? [])
  const stack = readElf(['--program-headers'], object).find((line) => line.includes('GNU_STACK'))
  const taken = symbolsOf(object).flatMap(({ name, defined }) => (defined || name === '' ? [] : name))
  const versions = symbolsOf(libcFor(object)).flatMap(({ name, defined }) => (defined ? name.replace(/@.*/, '') : []))
  return [
    ...needed.map((library) => `needs ${library}`),
    ...(stack === undefined || / RWE /.test(stack) ? ['the stack is executable'] : []),
    ...(dynamic.some((line) => line.includes('TEXTREL')) ? ['its code is written to when it is loaded'] : []),
    ...taken.filter((name) => !allowed.has(name)).map((name) => `${name} is not allowed`),
    ...taken
      .filter((name) => versions.indexOf(name) !== versions.lastIndexOf(name))
      .map((name) => `${name} has several versions`),
  ]
}

/** This process's own, or the one that the cross compiler brings. */
function libcFor(object: string): string {
  const { sharedObjects } = process.report.getReport() as unknown as { sharedObjects: string[] }
  const ours = sharedObjects.find((path) => basename(path) === 'libc.so.6')
  const machine = object.endsWith('arm64.node') ? 'aarch64' : 'x86_64'
  return basename(object) === own && ours !== undefined ? ours : `/usr/${machine}-linux-gnu/lib/libc.so.6`
}

/** A name carries its version: `name@OLD`, or `name@@DEFAULT`. */
function symbolsOf(object: string): { name: string; defined: boolean }[] {
  const lines = readElf(['--dyn-syms'], object).filter((line) => /^ *\d+: /.test(line))
  return lines.map((line) => {
    const [, , , , , , section, name = ''] = line.trim().split(/\s+/)
    return { name, defined: section !== 'UND' }
  })
}

function readElf(options: readonly string[], object: string): string[] {
  return execFileSync('readelf', ['--wide', ...options, object], { encoding: 'utf8' }).split('\n')
}
