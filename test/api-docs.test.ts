import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { Agent, get, request } from 'node:http'
import { join } from 'node:path'
import { after, test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { configure, superviseChild } from 'pid1'
import { API, SymbolFlags, type Symbol as TypeScriptSymbol } from 'typescript/unstable/sync'
import { projectFolder } from './helpers/installed-app.ts'
import { assertEnded, assertStoppedWell } from './helpers/report.ts'
import { asChildAndPid1, asPid1, fixturePath, skipBecause, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

type Row = Readonly<Record<string, string>>

const manifest = JSON.parse(readFileSync(join(projectFolder, 'package.json'), 'utf8')) as {
  readonly version: string
  readonly exports: { readonly [path: string]: unknown; readonly './fastify': { readonly types: string } }
}
const page = readPage('api.md')
/** The rows of the first table below each heading. */
const tables = new Map(sectionsOf('api.md').map((section) => [headingOf(section), rowsOf(section)]))

// Of TypeScript's NodeBuilderFlags: the whole type, and what an alias stands for instead of its name.
const noTruncation = 1
const inTypeAlias = 1 << 23

const api = new API({ cwd: projectFolder })
after(() => api.close())
const [project] = api.updateSnapshot({ openProjects: [join(projectFolder, 'tsconfig.json')] }).getProjects()
assert.ok(project !== undefined)
const { checker, program } = project
const exported = exportsOfPackage()
const functions = exported.filter((symbol) => isValue(symbol) && /^[a-z]/.test(symbol.name))
const interfaces = exported.filter((symbol) => (symbol.flags & SymbolFlags.Interface) !== 0)
const optionsOf = new Map(functions.map((symbol) => [symbol.name, nameOfOptions(symbol)]))

test('docs/api.md has a section for every public function, and for no other', () => {
  const sections = [...tables.keys()].flatMap((heading) => /^(\w+)\(/.exec(heading)?.[1] ?? [])
  assert.deepEqual(sections.toSorted(), functions.map(({ name }) => name).toSorted())
})

test('docs/api.md has every public type, and no other', () => {
  const inTable = columnOf('Other types', 'type')
  const inHeadings = [...tables.keys()].filter((heading) => /^[A-Z]\w+$/.test(heading))
  const classes = exported.filter((symbol) => isValue(symbol) && /^[A-Z]/.test(symbol.name)).map(({ name }) => name)
  const types = exported.filter((symbol) => !isValue(symbol)).map(({ name }) => name)
  assert.deepEqual([...inTable, ...inHeadings].toSorted(), [...new Set([...types, ...classes])].toSorted())
  const plugin = readFileSync(join(projectFolder, manifest.exports['./fastify'].types), 'utf8')
  for (const [, name = ''] of plugin.matchAll(/^export (?:interface|type) (\w+)/gm)) {
    assert.ok(page.includes(`\`${name}\``), name)
  }
})

for (const [caller, name] of optionsOf) {
  if (name === undefined) continue
  test(`docs/api.md has every option of ${caller} with its type and unit, and no other`, () => {
    const section = [...tables.keys()].find((heading) => heading.startsWith(`${caller}(`)) ?? ''
    assertSame(
      section,
      'option',
      interfaces.find((symbol) => symbol.name === name),
    )
    for (const row of tables.get(section) ?? []) {
      if (row['type']?.includes('=>')) assert.equal(row['default'], 'none', row['option'])
      else assert.match(row['default'] ?? '', /./, row['option'])
    }
  })
}

for (const symbol of interfaces) {
  if ([...optionsOf.values()].includes(symbol.name) || symbol.name === 'Unregister') continue
  test(`docs/api.md has every property of ${symbol.name} with its type and unit, and no other`, () => {
    assertSame(symbol.name, 'property', symbol)
  })
}

test('docs/api.md defines the other types as the declarations do', () => {
  for (const { type = '', definition = '' } of tables.get('Other types') ?? []) {
    const declared = definitionOf(exported.find(({ name }) => name === type))
    if (definition.startsWith('`')) assert.equal(normal(definition), normal(declared), type)
    else assert.match(definition, /^(an interface$|a function|the parts of)/, type)
  }
})

test('docs/api.md has every error code, entry point and environment variable, and no other', () => {
  const codes = definitionOf(exported.find(({ name }) => name === 'Pid1ErrorCode'))
  assert.deepEqual(columnOf('Pid1Error', 'code').toSorted(), codes.match(/PID1_\w+/g)?.toSorted())
  const entryPoints = Object.keys(manifest.exports).map((path) => path.replace(/^\./, 'pid1'))
  assert.deepEqual(columnOf('Entry points', 'import').toSorted(), entryPoints.toSorted())
  const build = readFileSync(join(projectFolder, 'dist', 'index.js'), 'utf8')
  const variables = new Set(build.match(/(?<=process\.env(\.|\["))(PID1_\w+|DEBUG)|PID1_\w+(?=: \[)/g))
  assert.deepEqual(columnOf('Environment variables', 'variable').toSorted(), [...variables].toSorted())
})

const child = Object.assign(new EventEmitter(), { pid: 1 }) as unknown as ChildProcess
for (const [option, call] of [
  ['signals', () => configure({ signals: ['SIGKILL'] })],
  ['signal', () => superviseChild(child, { signal: 'SIGSTOP' })],
  ['forward', () => superviseChild(child, { forward: ['SIGTERM'] })],
] as const) {
  test(`docs/api.md names the signals that ${option} refuses`, () => {
    const [sentence = ''] = new RegExp(`^\`${option}\` refuses [^]*?\\.$`, 'm').exec(page) ?? []
    assert.throws(call, ({ message }: Error) => {
      const [, refused = ''] = /\(not ([^)]+)\)/.exec(message) ?? []
      assert.deepEqual(sentence.match(/SIG\w+/g)?.toSorted(), refused.split(', ').toSorted())
      return true
    })
  })
}

test('docs/native.md has every operation of the native part, and no other', (t) => {
  const object = join(projectFolder, 'dist', 'native', `linux-${process.arch}.node`)
  if (!existsSync(object)) return skipBecause(t, `no compiler was there for ${object}`)
  const part = { exports: {} }
  process.dlopen(part, object)
  const rows = rowsOf(sectionsOf('native.md').find((section) => headingOf(section) === 'What it does') ?? '')
  assert.deepEqual(rows.map((row) => row['operation'] ?? '').toSorted(), Object.keys(part.exports).toSorted())
})

test('docs/api.md says since which version everything exists', () => {
  const { version } = manifest
  for (const [heading, rows] of tables) {
    for (const row of rows) {
      if (heading.startsWith('shutdown(')) continue // a table of calls
      assert.match(row['since'] ?? '', /^\d+\.\d+\.\d+$/, heading)
      assert.ok((row['since'] ?? '').localeCompare(version, 'en', { numeric: true }) <= 0, heading)
    }
  }
})

interface Seen {
  readonly gracePeriodMs: number
  readonly startedAt: number
  readonly deadline: number
  readonly hookDeadline: number
  readonly durationMs: number
  readonly stage: string
  readonly children: string
  readonly reap: boolean
  readonly reapedAfterMs?: number
  readonly listensToUsr1: boolean
  readonly listensToUsr2: boolean
  readonly signal: string
}

asChildAndPid1('a service that sets no option has the defaults of docs/api.md', async (t, pid1) => {
  const { seen, ended, status } = await stopDefaults(t, { pid1, asks: true })
  assertStoppedWell(ended) // `exit`, `exitCode` and `endsService`
  const [whenPid1, otherwise] = defaultOf('configure', 'children').split(' as PID 1, else ')
  assert.deepEqual([whenPid1, otherwise], ["'terminate'", "'leave'"])
  assert.equal(`'${seen.children}'`, pid1 ? whenPid1 : otherwise)
  assert.equal(defaultOf('configure', 'reap'), 'true as PID 1, else false')
  assert.equal(seen.reap, pid1)
  assert.deepEqual([defaultOf('configure', 'exit'), defaultOf('configure', 'exitCode')], ['true', "'zero'"])
  assert.ok(defaultOf('configure', 'gracePeriodMs').endsWith(`or ${seen.gracePeriodMs}`))
  assert.deepEqual([seen.listensToUsr2 && !pid1, defaultOf('configure', 'signals')], [false, '[]'])
  if (seen.reapedAfterMs !== undefined) assertAbout(seen.reapedAfterMs, defaultOf('configure', 'reapAfterMs'))
  for (const caller of ['configure', 'drainOnShutdown']) {
    assertAbout(seen.durationMs, defaultOf(caller, 'lingerMs'))
    assert.equal(status === 200 ? "'serve'" : `${status}`, defaultOf(caller, 'whileDraining'))
  }
  assert.equal(`'${seen.stage}'`, defaultOf('onShutdown', 'stage'))
  assert.ok(seen.hookDeadline - seen.startedAt > 0.7 * (seen.deadline - seen.startedAt), 'a hook has all the time')
  assert.equal(`'${seen.signal}'`, defaultOf('superviseChild', 'signal')) // before flush, so it is no sidecar
  assert.deepEqual(
    [defaultOf('superviseChild', 'sidecar'), defaultOf('superviseChild', 'endsService')],
    ['false', 'false'],
  )
  assert.deepEqual([seen.listensToUsr1, defaultOf('superviseChild', 'forward')], [false, '[]'])
  for (const caller of ['onShutdown', 'superviseChild']) {
    assert.equal(defaultOf(caller, 'timeoutMs'), "the stage's time")
  }
})

asChildAndPid1('endlessMs is by default what lingerMs is, as docs/api.md says', async (t, pid1) => {
  const { seen } = await stopDefaults(t, { pid1, upgrades: true, args: ['{"lingerMs":500}'] })
  for (const caller of ['configure', 'drainOnShutdown']) assert.equal(defaultOf(caller, 'endlessMs'), 'lingerMs')
  assertAbout(seen.durationMs, '500')
})

asChildAndPid1('drainDelayMs is by default what docs/api.md says', async (t, pid1) => {
  const [here, onKubernetes = ''] = defaultOf('drainOnShutdown', 'drainDelayMs').split('; ')
  assert.equal(defaultOf('configure', 'drainDelayMs'), `${here}; ${onKubernetes}`)
  assert.equal(here, '0')
  const idle = await stopDefaults(t, { pid1 })
  assertTook(idle.seen.durationMs, { under: 900 })
  const env = { KUBERNETES_SERVICE_HOST: '10.0.0.1', PID1_GRACE_PERIOD: '1s' }
  const { ended } = await stopDefaults(t, { pid1, env })
  assertEnded(ended, 0)
  assert.match(ended.stderr, new RegExp(`^pid1: drainDelayMs is ${onKubernetes.replace(' on Kubernetes', '')}, but `))
})

asPid1('warnings is by default what docs/api.md says', async (t) => {
  assert.equal(defaultOf('configure', 'warnings'), 'true')
  const command = ['sh', '-c', `'${process.execPath}' '${fixturePath('core/init.js')}'; exit $?`]
  const ended = await start(t, '', { pid1: true, command }).ended
  assert.match(ended.stderr, /^pid1: PID 1 is /)
})

interface Stopping {
  readonly pid1: boolean
  readonly args?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  /** Two connections ask just before the signal, and one of them once more after it. */
  readonly asks?: boolean
  /** A connection is upgraded, and stays. */
  readonly upgrades?: boolean
}

async function stopDefaults(t: TestContext, { asks, upgrades, ...options }: Stopping) {
  const run = start(t, 'core/defaults.js', options)
  const port = await run.port()
  const [idle, busy] = [newAgent(t), newAgent(t)]
  if (asks === true) await Promise.all([statusOf(port, idle), statusOf(port, busy)])
  if (upgrades === true) await upgrade(t, port)
  run.signal('SIGTERM')
  const status = asks === true ? await wait(200).then(() => statusOf(port, busy)) : undefined
  const ended = await run.ended
  const [, json = '{}'] = /^seen (.*)$/m.exec(ended.stdout) ?? []
  return { seen: JSON.parse(json) as Seen, ended, status }
}

function newAgent(t: TestContext): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.after(() => agent.destroy())
  return agent
}

function statusOf(port: number, agent: Agent): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asked = get({ host: '127.0.0.1', port, agent }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode))
    })
    asked.on('error', reject)
  })
}

async function upgrade(t: TestContext, port: number): Promise<void> {
  const asked = request({ host: '127.0.0.1', port, headers: { connection: 'upgrade', upgrade: 'any' } }).end()
  await new Promise<void>((resolve, reject) => {
    asked.on('error', reject)
    asked.on('upgrade', (_response, socket) => {
      socket.on('error', () => {})
      t.after(() => socket.destroy())
      resolve()
    })
  })
}

/** A busy machine makes it longer, never shorter. */
function assertAbout(ms: number, documented: string): void {
  assert.ok(ms >= 0.85 * Number(documented) && ms < 2.5 * Number(documented), `${ms} ms, but ${documented} in the page`)
}

function defaultOf(caller: string, option: string): string {
  const section = [...tables.keys()].find((heading) => heading.startsWith(`${caller}(`)) ?? ''
  const row = tables.get(section)?.find((candidate) => candidate['option'] === option)
  return (row?.['default'] ?? '').replaceAll('`', '')
}

function columnOf(heading: string, column: string): string[] {
  return (tables.get(heading) ?? []).map((row) => row[column] ?? '')
}

/** As the package declares them. */
function exportsOfPackage(): TypeScriptSymbol[] {
  const file = program.getSourceFile(join(projectFolder, 'dist', 'index.d.ts'))
  const module = file === undefined ? undefined : checker.getSymbolAtLocation(file)
  assert.ok(module !== undefined)
  return checker
    .getExportsOfModule(module)
    .map((symbol) => ((symbol.flags & SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol)))
}

function isValue({ flags }: TypeScriptSymbol): boolean {
  return (flags & SymbolFlags.Value) !== 0
}

/** The name of the type of a function's parameter `options`. */
function nameOfOptions(symbol: TypeScriptSymbol): string | undefined {
  return /\boptions\??: (\w+)/.exec(typeOf(symbol))?.[1]
}

function typeOf(symbol: TypeScriptSymbol): string {
  const type = checker.getTypeOfSymbol(symbol)
  assert.ok(type !== undefined, symbol.name)
  return checker.typeToString(type, undefined, noTruncation)
}

/** What a type stands for: a union of words with all its words. */
function definitionOf(symbol: TypeScriptSymbol | undefined): string {
  assert.ok(symbol !== undefined)
  const type = checker.getDeclaredTypeOfSymbol(symbol)
  const parts = type.isUnionType() ? type.getTypes() : []
  if (parts.length > 0 && parts.every((part) => part.isLiteralType())) {
    return parts.map((part) => checker.typeToString(part)).join(' | ')
  }
  return checker.typeToString(type, undefined, noTruncation | inTypeAlias)
}

/** The table has the properties of the interface with their types, and times have a unit. */
function assertSame(section: string, column: string, symbol: TypeScriptSymbol | undefined): void {
  assert.ok(symbol !== undefined)
  const properties = checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol))
  const declared = properties.map((property) => {
    const isOptional = (property.flags & SymbolFlags.Optional) !== 0
    const type = normal(typeOf(property))
    return `${property.name}: ${isOptional ? type.replace(/ \| undefined$/, '') : type}`
  })
  const rows = tables.get(section) ?? []
  const written = rows.map((row) => `${row[column]}: ${normal(row['type'] ?? '')}`)
  assert.deepEqual(written.toSorted(), declared.toSorted())
  for (const row of rows) {
    const isTime = row[column]?.endsWith('Ms') === true
    assert.match(row['unit'] ?? '', isTime ? /^ms$/ : /^(|ms since 1970)$/, row[column])
  }
}

/** Without what both sides may write in two ways: quotes, a namespace, brackets around a function, the order of a union. */
function normal(type: string): string {
  const plain = type.replaceAll(/`|NodeJS\./g, '').replaceAll("'", '"')
  const [, inBrackets, undefinedToo = ''] = /^\((\(.*\) => .*)\)( \| undefined)?$/.exec(plain) ?? []
  if (inBrackets !== undefined) return inBrackets + undefinedToo
  if (/[({]/.test(plain)) return plain.replaceAll(/;? \}/g, ' }').replaceAll(/readonly | \| undefined(?=[;)} ])/g, '')
  const parts = plain.split(' | ').toSorted()
  return [...parts.filter((part) => part !== 'undefined'), ...parts.filter((part) => part === 'undefined')].join(' | ')
}

function readPage(name: string): string {
  return readFileSync(join(projectFolder, 'docs', name), 'utf8')
}

function sectionsOf(name: string): string[] {
  return readPage(name).split(/^##+ /m)
}

function headingOf(section: string): string {
  return (section.split('\n')[0] ?? '').replaceAll('`', '')
}

function rowsOf(section: string): Row[] {
  const lines = section.split('\n').map((line) => line.trim())
  const from = lines.findIndex((line) => line.startsWith('|'))
  const rest = from === -1 ? [] : lines.slice(from)
  const until = rest.findIndex((line) => !line.startsWith('|'))
  const [header = [], , ...rows] = (until === -1 ? rest : rest.slice(0, until)).map(cellsOf)
  return rows.map((cells) =>
    Object.fromEntries(header.map((name, column) => [name, cellOf(name, cells[column] ?? '')] as const)),
  )
}

function cellsOf(line: string): string[] {
  return line
    .slice(1, -1)
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll('\\|', '|'))
}

/** What names something is read without its quotes. */
function cellOf(name: string, cell: string): string {
  return ['option', 'property', 'type', 'code', 'import', 'variable', 'operation'].includes(name)
    ? cell.replaceAll('`', '')
    : cell
}
