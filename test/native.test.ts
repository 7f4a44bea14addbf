import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { installPid1, makeInstalledApp, projectFolder } from './helpers/installed-app.ts'
import { assertEnded } from './helpers/report.ts'
import { asChildAndPid1, skipBecause, start } from './helpers/run.ts'

const built = join(projectFolder, 'dist', 'native')
const own = `linux-${process.arch}.node`

// All that an object may take from elsewhere: Node-API, and of the C library what glibc and musl have in one version.
const allowed = new Set(
  [
    'napi_create_double napi_create_function napi_get_cb_info napi_get_value_double napi_get_value_string_utf8',
    'napi_set_named_property',
    '__errno_location close getsockname getsockopt listen prctl recv send setsockopt sigaction socket syscall',
    'memset', // which gcc calls on arm64
  ].flatMap((names) => names.split(' ')),
)

for (const object of existsSync(built) ? readdirSync(built) : []) {
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
  asChildAndPid1(`where ${what} one debug line tells why there is no native part`, async (t, pid1) => {
    const [app, object] = installApp(t)
    rmSync(object, { force: true })
    if (content !== undefined) writeFileSync(object, content)
    const command = [process.execPath, ...nodeArgs, app]
    const quiet = await start(t, '', { pid1, command }).ended
    assertEnded(quiet, 0)
    assert.equal(quiet.stdout, 'native false\n')
    const warning = /^pid1: orphans are not reaped, and a blocked process is not ended, without the native part: .+\n$/
    assert.match(quiet.stderr, pid1 && isWarned ? warning : /^$/)
    const curious = await start(t, '', { pid1, command, env: { DEBUG: 'pid1:native' } }).ended
    const lines = curious.stderr.split('\n').filter((line) => line.includes('pid1:native'))
    assert.equal(lines.length, 1, curious.stderr)
    assert.match(lines[0] ?? '', new RegExp(`absent on linux-${process.arch}: .*(${reason.source})`))
  })
}

asChildAndPid1('where there is a native part nothing is told', async (t, pid1) => {
  const [app, object] = installApp(t)
  if (!existsSync(object)) return skipBecause(t, `no compiler was there for ${own}`)
  const ended = await start(t, '', { pid1, command: [process.execPath, app], env: { DEBUG: 'pid1:native' } }).ended
  assertEnded(ended, 0)
  assert.deepEqual([ended.stdout, ended.stderr], ['native true\n', ''])
})

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
