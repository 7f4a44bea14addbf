import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { constants } from 'node:os'
import { test, type TestContext } from 'node:test'
import {
  configure,
  type DrainOptions,
  drainOnShutdown,
  type HookOptions,
  onExit,
  onShutdown,
  type ConfigureOptions,
  Pid1Error,
  shutdown,
  superviseChild,
  type SuperviseOptions,
} from 'pid1'
import { checkDrainOptions, checkHookOptions, checkOptions, checkSuperviseOptions } from '../src/options.ts'
import { reportIn, stop } from './helpers/report.ts'
import { asChildAndPid1, type Ended, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

/** Every code there is; the compiler refuses one that is missing and one that is made up. */
const codes: Record<Pid1Error['code'], true> = { PID1_INVALID_OPTION: true, PID1_HOOK_TIMEOUT: true }

test('these are all the error codes', () => {
  const source = readFileSync(new URL('../src/errors.ts', import.meta.url), 'utf8')
  const found = source.match(/(?<=')PID1_\w+(?=')/g) ?? []
  assert.deepEqual(found.toSorted(), Object.keys(codes).toSorted())
  const error = new Pid1Error('PID1_INVALID_OPTION', 'Expected this')
  assert.ok(error instanceof Error)
  assert.deepEqual([error.name, error.code, error.message], ['Pid1Error', 'PID1_INVALID_OPTION', 'Expected this'])
})

type BadCall = readonly [what: string, call: () => unknown, expected: RegExp, came: RegExp]

const hook = () => {}
const server = createServer()
const withHole: NodeJS.Signals[] = ['SIGUSR2', 'SIGHUP']
Reflect.deleteProperty(withHole, 0)
const untyped = (value: unknown) => value as never
function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}

const badHooks: readonly BadCall[] = [
  ['a hook that is a number', () => onShutdown(untyped(42)), /hook/, /42 \(number\)/],
  ['no hook', () => onShutdown('database', untyped(undefined)), /hook.*function/, /undefined/],
  ['a hook that is an object', () => onShutdown('database', untyped({ close: 1 })), /hook.*function/, /close|Object/],
  ['a name that is a number', () => onShutdown(untyped(7), hook), /name.*string/, /7 \(number\)/],
  ['an unknown option of a hook', () => onShutdown('a', hook, untyped({ timeout: 5 })), /timeoutMs/, /timeout/],
  ['a stage that is none', () => onShutdown('a', hook, untyped({ stage: 'middle' })), /stage.*intake/, /"middle"/],
  ['a timeout with a unit', () => onShutdown('a', hook, untyped({ timeoutMs: '5s' })), /timeoutMs/, /"5s" \(string\)/],
  ['a negative timeout', () => onShutdown('a', hook, { timeoutMs: -1 }), /timeoutMs.*0 or more/, /-1 \(number\)/],
  ['options that are null', () => onShutdown('a', hook, untyped(null)), /options.*object/, /null/],
  ['options that are null, without a name', () => onShutdown(hook, untyped(null)), /options.*object/, /null/],
  ['a second hook instead of options', () => onShutdown(hook, untyped(hook)), /options.*object/, /hook/],
  ['a stage that is none, without a name', () => onShutdown(hook, untyped({ stage: 'x' })), /stage.*intake/, /"x"/],
  ['a hook that is a revoked proxy', () => onShutdown(untyped(revoked(hook))), /hook.*function/, /a revoked proxy/],
  ['a callback that is a revoked proxy', () => onExit(untyped(revoked(hook))), /callback/, /a revoked proxy/],
  ['options that are a revoked proxy', () => onShutdown(hook, untyped(revoked({}))), /options/, /a revoked proxy/],
  ['last words that are text', () => onExit(untyped('bye')), /callback.*function/, /"bye" \(string\)/],
]

const badServers: readonly BadCall[] = [
  ['no server', () => drainOnShutdown(untyped(undefined)), /server/, /undefined/],
  ['a server that is a revoked proxy', () => drainOnShutdown(untyped(revoked(server))), /server/, /a revoked proxy/],
  ['a server that is null', () => drainOnShutdown(untyped(null)), /server/, /null/],
  ['a port instead of a server', () => drainOnShutdown(untyped(8080)), /server/, /8080 \(number\)/],
  ['an app instead of a server', () => drainOnShutdown(untyped(hook)), /server/, /Function/],
  ['an object instead of a server', () => drainOnShutdown(untyped({ listen: hook })), /server/, /listen/],
  ['an emitter instead of a server', () => drainOnShutdown(untyped(new EventEmitter())), /server/, /EventEmitter/],
  ['an unknown option of a server', () => drainOnShutdown(server, untyped({ linger: 5 })), /lingerMs/, /"?linger"?/],
  ['a negative linger', () => drainOnShutdown(server, { lingerMs: -5 }), /lingerMs.*0 or more/, /-5/],
  ['a linger that is NaN', () => drainOnShutdown(server, { lingerMs: Number.NaN }), /lingerMs/, /NaN/],
  ['endlessMs as text', () => drainOnShutdown(server, untyped({ endlessMs: '1' })), /endlessMs/, /"1" \(string\)/],
  ['a delay that is true', () => drainOnShutdown(server, untyped({ drainDelayMs: true })), /drainDelayMs/, /true/],
  [
    'whileDraining that is none',
    () => drainOnShutdown(server, untyped({ whileDraining: 'drop' })),
    /whileDraining.*"serve" or "refuse"/,
    /"drop"/,
  ],
  ['a spread without end', () => drainOnShutdown(server, { spreadMs: Infinity }), /spreadMs.*0 or more/, /Infinity/],
  ['a close code that nobody may send', () => drainOnShutdown(server, { closeCode: 1006 }), /closeCode.*1000/, /1006/],
  ['a close code as text', () => drainOnShutdown(server, untyped({ closeCode: '1001' })), /closeCode/, /"1001"/],
  ['a linger below forever', () => drainOnShutdown(server, { lingerMs: -Infinity }), /lingerMs.*Infinity/, /-Infinity/],
  [
    'goodbye for a server that has one of its own',
    () => drainOnShutdown(server, { goodbye: hook }),
    /goodbye.*net/,
    /Server/,
  ],
  ['afterDrain as text', () => drainOnShutdown(server, untyped({ afterDrain: 'x' })), /afterDrain.*function/, /"x"/],
]

const badOptions: readonly BadCall[] = [
  ['an unknown option', () => configure(untyped({ gracePeriod: 5 })), /gracePeriodMs/, /gracePeriod/],
  ['options that are text', () => configure(untyped('5s')), /object/, /"5s" \(string\)/],
  ['options that are missing', () => configure(untyped(undefined)), /object/, /undefined/],
  ['options that are a list', () => configure(untyped([])), /object/, /\[\]/],
  ['a grace period with a unit', () => configure(untyped({ gracePeriodMs: '5s' })), /gracePeriodMs/, /"5s" \(string\)/],
  ['a negative grace period', () => configure({ gracePeriodMs: -1 }), /gracePeriodMs.*0 or more/, /-1 \(number\)/],
  ['a grace period that is NaN', () => configure({ gracePeriodMs: Number.NaN }), /gracePeriodMs/, /NaN/],
  ['a grace period without end', () => configure({ gracePeriodMs: Infinity }), /gracePeriodMs/, /Infinity/],
  ['a grace period no timer takes', () => configure({ gracePeriodMs: 2 ** 31 }), /gracePeriodMs/, /2147483648/],
  ['signals as text', () => configure(untyped({ signals: 'SIGUSR2' })), /signals.*list/, /"SIGUSR2"/],
  ['a list of signals with a hole', () => configure({ signals: withHole }), /signals/, /empty item/],
  ['a signal without SIG', () => configure(untyped({ signals: ['USR2'] })), /signals/, /USR2/],
  ['a signal as a number', () => configure(untyped({ signals: [12] })), /signals/, /12/],
  ['a signal nobody can catch', () => configure({ signals: ['SIGKILL'] }), /signals/, /SIGKILL/],
  ['a signal that is Node’s own', () => configure({ signals: ['SIGUSR1'] }), /signals/, /SIGUSR1/],
  [
    'a list of signals to forward with a hole',
    () => superviseChild(process.getBuiltinModule('node:child_process').spawn('true'), { forward: withHole }),
    /forward/,
    /empty item/,
  ],
  ['exit as text', () => configure(untyped({ exit: 'no' })), /exit.*true or false/, /"no"/],
  ['exitCode as a number', () => configure(untyped({ exitCode: 7 })), /exitCode.*zero.*signal/, /7 \(number\)/],
  ['onReport as text', () => configure(untyped({ onReport: 'log' })), /onReport.*function/, /"log"/],
  ['a linger for all that is negative', () => configure({ lingerMs: -1 }), /lingerMs/, /-1/],
  ['endlessMs for all as text', () => configure(untyped({ endlessMs: '1' })), /endlessMs/, /"1"/],
  ['other listeners that are none', () => configure(untyped({ otherListeners: 'late' })), /atOnce/, /"late"/],
  ['a delay for all that is NaN', () => configure({ drainDelayMs: Number.NaN }), /drainDelayMs/, /NaN/],
]

const badReasons: readonly BadCall[] = [
  ['a reason that is a number', () => shutdown(untyped(42)), /shutdown/, /42 \(number\)/],
  ['a reason that is null', () => shutdown(untyped(null)), /reason.*error/, /null: .*shutdown\({ exitCode: 1 }\)/],
  ['a reason that is a revoked proxy', () => shutdown(untyped(revoked({}))), /reason.*error/, /a revoked proxy/],
  [
    'an option that is a revoked proxy',
    () => configure({ signals: untyped(revoked([])) }),
    /SIGUSR2/,
    /a revoked proxy/,
  ],
  ['an exit code as text', () => shutdown(untyped({ exitCode: '7' })), /exitCode/, /"7" \(string\)/],
  ['an exit code over 255', () => shutdown({ exitCode: 256 }), /exitCode.*255/, /256/],
  ['a negative exit code', () => shutdown({ exitCode: -1 }), /exitCode/, /-1/],
  ['half an exit code', () => shutdown({ exitCode: 1.5 }), /exitCode/, /1\.5/],
  ['a word that is a number', () => shutdown(untyped({ reason: 7 })), /reason.*string/, /7/],
  ['an unknown option of shutdown', () => shutdown(untyped({ code: 7 })), /exitCode/, /code/],
]

for (const [what, call, expected, came] of [...badHooks, ...badServers, ...badOptions]) {
  test(`${what} is refused at once`, () => {
    assertRefused(call, expected, came)
    assert.equal(process.listenerCount('SIGTERM'), 0) // nothing was registered
  })
}

for (const [what, call, expected, came] of badReasons) {
  test(`${what} is refused at once`, () => {
    configure({ exit: false })
    assertRefused(call, expected, came)
  })
}

/** The compiler refuses a name that is missing. */
const everyOption = {
  configure: names<ConfigureOptions>({
    gracePeriodMs: 0,
    signals: 0,
    exit: 0,
    exitCode: 0,
    reap: 0,
    reapAfterMs: 0,
    children: 0,
    otherListeners: 0,
    warnings: 0,
    summary: 0,
    onReport: 0,
    onForcedEnd: 0,
    lingerMs: 0,
    endlessMs: 0,
    spreadMs: 0,
    closeCode: 0,
    drainDelayMs: 0,
    whileDraining: 0,
    isEndless: 0,
  }),
  drainOnShutdown: names<DrainOptions>({
    lingerMs: 0,
    endlessMs: 0,
    spreadMs: 0,
    closeCode: 0,
    drainDelayMs: 0,
    whileDraining: 0,
    isEndless: 0,
    goodbye: 0,
    afterDrain: 0,
  }),
  onShutdown: names<HookOptions>({ stage: 0, timeoutMs: 0 }),
  superviseChild: names<SuperviseOptions>({ signal: 0, timeoutMs: 0, sidecar: 0, endsService: 0, forward: 0 }),
}

const child = Object.assign(new EventEmitter(), { pid: 1 }) as unknown as ChildProcess
for (const [caller, check, call] of [
  ['configure', checkOptions, configure],
  ['drainOnShutdown', checkDrainOptions, (options: object) => drainOnShutdown(server, options)],
  ['onShutdown', checkHookOptions, (options: object) => onShutdown('a', hook, options)],
  ['superviseChild', checkSuperviseOptions, (options: object) => superviseChild(child, options)],
] as const) {
  const known = everyOption[caller]

  test(`an option of ${caller} that is undefined was not given`, () => {
    const all = Object.fromEntries(known.map((name) => [name, undefined]))
    assert.deepEqual(Object.keys(check(Object.freeze(all))), [])
  })

  for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty', '']) {
    test(`an option of ${caller} with the name "${name}" is refused at once`, () => {
      const options = JSON.parse(`{ "${name}": 1 }`) as object
      assertRefused(() => call(options), new RegExp(`${caller}.*${known.join(', ')}`), /^"\w*" \(string\)$/)
    })
  }

  test(`an unknown option of ${caller} names the one that was probably meant`, () => {
    for (const name of known) {
      for (const similar of [`${name}s`, name.slice(1), name.toUpperCase(), name.replace(/Ms$/, '_seconds')]) {
        if (known.includes(similar)) continue
        assert.throws(() => call({ [similar]: 1 }), { message: new RegExp(`: did you mean \`${name}\`\\?$`) }, similar)
      }
    }
    assert.throws(() => call(untyped({ banana: 1 })), { message: /got "banana" \(string\)$/ })
  })
}

test('what is checked is what is used: a getter is read once, a list is copied, the prototype is not asked', () => {
  let reads = 0
  const signals: NodeJS.Signals[] = ['SIGUSR2']
  const options = Object.create({ lingerMs: -1 }) as ConfigureOptions
  Object.defineProperty(options, 'gracePeriodMs', { enumerable: true, get: () => (++reads === 1 ? 5000 : -1) })
  const given = checkOptions(Object.assign(options, { signals, [Symbol('mine')]: 1 }))
  signals.push('SIGKILL')
  assert.deepEqual({ ...given }, { gracePeriodMs: 5000, signals: ['SIGUSR2'] })
  let itemReads = 0
  const item = Object.defineProperty(['SIGUSR2'], 0, { get: () => (++itemReads === 1 ? 'SIGUSR2' : 'SIGKILL') })
  assert.deepEqual(checkOptions({ signals: item })['signals'], ['SIGUSR2'])
})

// On Windows a process cannot send a signal that another one handles.
for (const how of process.platform === 'win32' ? ['by hand'] : ['by a signal', 'by hand']) {
  asChildAndPid1(`a shutdown ${how} is the same with every option undefined as without`, async (t, pid1) => {
    const [once, again] = await Promise.all(
      ['once', 'undefined'].map((args) => start(t, 'core/undefined-options.js', { pid1, args: [args, how] }).ended),
    )
    assert.deepEqual([again?.code, again?.stderr], [how === 'by hand' ? 0 : 128 + constants.signals.SIGUSR2, ''])
    assert.deepEqual(withoutTimes(again), withoutTimes(once))
    assert.ok(again !== undefined)
    assertTook(reportIn(again).durationMs, { under: 900 })
  })
}

for (const text of ['30', '0.5', ' 1500 ']) {
  asChildAndPid1(`PID1_GRACE_PERIOD="${text}" is refused: milliseconds or seconds?`, async (t, pid1) => {
    const ended = await start(t, 'core/bad-grace-period.js', { pid1, env: { PID1_GRACE_PERIOD: text } }).ended
    assert.deepEqual([ended.code, ended.signal, ended.stderr], [0, null, ''])
    const bare = text.trim()
    const expected = `Expected \`PID1_GRACE_PERIOD\` to be a time with a unit, got "${text}" (string): write ${bare}s or ${bare}ms`
    assert.equal(ended.stdout, `Pid1Error PID1_INVALID_OPTION ${expected}\n`)
  })
}

for (const text of ['soon', '10 minutes', '10h', '1e3s', '1,5s', '-1', '-1s', 'NaN', 'Infinity', '9999999s']) {
  asChildAndPid1(`PID1_GRACE_PERIOD="${text}" is refused at the first registration`, async (t, pid1) => {
    const ended = await start(t, 'core/bad-grace-period.js', { pid1, env: { PID1_GRACE_PERIOD: text } }).ended
    assert.deepEqual([ended.code, ended.signal, ended.stderr], [0, null, ''])
    assert.match(ended.stdout, /^Pid1Error PID1_INVALID_OPTION Expected .*PID1_GRACE_PERIOD.*"10s"/)
    assert.ok(ended.stdout.includes(`got "${text}"`), ended.stdout)
  })
}

const badVariables: readonly (readonly [name: string, text: string, expected: RegExp])[] = [
  ['PID1_DRAIN_DELAY', '5', /a time with a unit.*write 5s or 5ms/],
  ['PID1_LINGER', '1,5s', /a time such as/],
  ['PID1_LINGER', 'for ever', /a time such as/],
  ['PID1_ENDLESS', 'infinity', /a time such as/],
  ['PID1_SPREAD', '-1s', /a time such as/],
  ['PID1_WHILE_DRAINING', 'Serve', /"serve" or "refuse"/],
  ['PID1_OTHER_LISTENERS', 'all', /"atOnce" or "libraries" or "afterDrain"/],
  ['PID1_EXIT_CODE', '0', /"zero" or "signal"/],
  ['PID1_SUMMARY', 'yes', /1 or 0/],
  ['PID1_WARNINGS', '2', /1 or 0/],
  ['PID1_DISABLE', 'yes', /1 or 0/],
]

for (const [name, text, expected] of badVariables) {
  test(`${name}="${text}" is refused at the first registration`, async (t) => {
    const ended = await start(t, 'core/bad-grace-period.js', { env: { [name]: text } }).ended
    assert.deepEqual([ended.code, ended.signal, ended.stderr], [0, null, ''])
    const [, message = ''] = /^Pid1Error PID1_INVALID_OPTION Expected (.*)\n$/.exec(ended.stdout) ?? []
    assert.ok(message.startsWith(`\`${name}\``) && message.includes(`got "${text}"`), ended.stdout)
    assert.match(message, expected)
  })
}

const allVariables = {
  PID1_DRAIN_DELAY: '100ms',
  PID1_LINGER: ' Infinity ',
  PID1_ENDLESS: '1.5s',
  PID1_SPREAD: '0',
  PID1_WHILE_DRAINING: 'refuse',
  PID1_OTHER_LISTENERS: 'afterDrain',
  PID1_EXIT_CODE: ' signal ',
  PID1_SUMMARY: 'TRUE',
  PID1_WARNINGS: '0',
}
const allOptions = {
  drainDelayMs: 100,
  endlessMs: 1500,
  spreadMs: 0,
  whileDraining: 'refuse',
  otherListeners: 'afterDrain',
  exitCode: 'signal',
  summary: true,
  warnings: false,
}

test('variables give options', async (t) => {
  assert.deepEqual(await optionsUnder(t, allVariables), { ...allOptions, lingerMs: Infinity })
  assert.deepEqual(await optionsUnder(t, { PID1_LINGER: '', PID1_SUMMARY: ' ' }), {})
  assert.deepEqual(await optionsUnder(t, { ...allVariables, PID1_DISABLE: 'true' }), {})
  assert.deepEqual(await optionsUnder(t, { PID1_DISABLE: '0', PID1_SUMMARY: '0' }), { summary: false })
})

async function optionsUnder(t: TestContext, env: NodeJS.ProcessEnv): Promise<unknown> {
  const source = new URL('../src/options.ts', import.meta.url).href
  const code = `import { optionsOfEnvironment } from '${source}'
    const { lingerMs, ...options } = optionsOfEnvironment()
    console.log(JSON.stringify({ ...options, ...(lingerMs === undefined ? {} : { lingerMs: String(lingerMs) }) }))`
  const command = [process.execPath, '--import', 'tsx', '--input-type=module', '--eval', code]
  const ended = await start(t, '', { command, env }).ended
  assert.equal(ended.code, 0, ended.stderr)
  const { lingerMs, ...options } = JSON.parse(ended.stdout) as { lingerMs?: string }
  return { ...options, ...(lingerMs === undefined ? {} : { lingerMs: Number(lingerMs) }) }
}

asChildAndPid1('configure() wins over variables, in whatever order they are read', async (t, pid1) => {
  const env = { PID1_EXIT_CODE: 'zero', PID1_SUMMARY: '1', PID1_GRACE_PERIOD: '60s' }
  const run = start(t, 'core/configured.js', { pid1, env })
  const ended = await stop(run)
  assert.equal(ended.code, 128 + constants.signals.SIGTERM)
  const [begins, over, ...others] = ended.stderr.trimEnd().split('\n')
  assert.equal(begins, 'pid1: the shutdown begins: SIGTERM; 3600 ms at most')
  assert.match(over ?? '', /^pid1: the shutdown is over after \d+ ms, with exit code 143$/)
  assert.deepEqual(others, [])
})

test('summary: what became of connections and children, also where a listener exits', async (t) => {
  const env = { PID1_SUMMARY: '1', PID1_OTHER_LISTENERS: 'afterDrain' }
  const run = start(t, 'core/summary.js', { env })
  const port = await run.port()
  const response = await fetch(`http://127.0.0.1:${port}/`)
  assert.equal(await response.text(), 'hello')
  run.signal('SIGTERM')
  const ended = await run.ended
  assert.equal(ended.code, 3, ended.stderr)
  assert.match(
    ended.stderr,
    /^pid1: the shutdown begins: SIGTERM; 9000 ms at most\npid1: the shutdown is over after \d+ ms, with exit code 3: 1 connection drained, 2 child processes ended\n$/,
  )
})

function assertRefused(call: () => unknown, expected: RegExp, came: RegExp): void {
  assert.throws(call, (error) => {
    assert.ok(error instanceof Pid1Error, String(error))
    assert.equal(error.code, 'PID1_INVALID_OPTION')
    const [, whatWasExpected = '', whatCame = ''] = /^Expected (.+), got (.+)$/s.exec(error.message) ?? []
    assert.match(whatWasExpected, expected, error.message)
    assert.match(whatCame, came, error.message)
    return true
  })
}

function names<AllOptions>(options: Record<keyof AllOptions, 0>): string[] {
  return Object.keys(options)
}

function withoutTimes(ended: Ended | undefined): unknown {
  return {
    ...ended,
    ms: 0,
    exitedAfterMs: 0,
    stdout: ended?.stdout.replaceAll(/((startedAt|durationMs|deadline)":|on port )[\d.]+/g, '$1'),
  }
}
