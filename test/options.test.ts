import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { configure, drainOnShutdown, onExit, onShutdown, Pid1Error, shutdown } from 'pid1'
import { asChildAndPid1, start } from './helpers/run.ts'

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
const untyped = (value: unknown) => value as never

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
  ['last words that are text', () => onExit(untyped('bye')), /callback.*function/, /"bye" \(string\)/],
]

const badServers: readonly BadCall[] = [
  ['no server', () => drainOnShutdown(untyped(undefined)), /server/, /undefined/],
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
  ['a signal without SIG', () => configure(untyped({ signals: ['USR2'] })), /signals/, /USR2/],
  ['a signal as a number', () => configure(untyped({ signals: [12] })), /signals/, /12/],
  ['a signal nobody can catch', () => configure({ signals: ['SIGKILL'] }), /signals/, /SIGKILL/],
  ['a signal that is Node’s own', () => configure({ signals: ['SIGUSR1'] }), /signals/, /SIGUSR1/],
  ['exit as text', () => configure(untyped({ exit: 'no' })), /exit.*true or false/, /"no"/],
  ['exitCode as a number', () => configure(untyped({ exitCode: 7 })), /exitCode.*zero.*signal/, /7 \(number\)/],
  ['onReport as text', () => configure(untyped({ onReport: 'log' })), /onReport.*function/, /"log"/],
  ['a linger for all that is negative', () => configure({ lingerMs: -1 }), /lingerMs/, /-1/],
  ['endlessMs for all as text', () => configure(untyped({ endlessMs: '1' })), /endlessMs/, /"1"/],
  ['a delay for all that is NaN', () => configure({ drainDelayMs: Number.NaN }), /drainDelayMs/, /NaN/],
]

const badReasons: readonly BadCall[] = [
  ['a reason that is a number', () => shutdown(untyped(42)), /shutdown/, /42 \(number\)/],
  ['a reason that is null', () => shutdown(untyped(null)), /shutdown/, /null/],
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

test('an option that is undefined is as good as none', () => {
  assert.doesNotThrow(() => configure(untyped({ gracePeriodMs: undefined, onReport: undefined })))
  assert.doesNotThrow(() => onShutdown('a', hook, untyped({ timeoutMs: undefined }))())
})

for (const text of ['soon', '10 minutes', '10m', '-1', '-1s', 'NaN', 'Infinity', '9999999s']) {
  asChildAndPid1(`PID1_GRACE_PERIOD="${text}" is refused at the first registration`, async (t, pid1) => {
    const ended = await start(t, 'core/bad-grace-period.js', { pid1, env: { PID1_GRACE_PERIOD: text } }).ended
    assert.deepEqual([ended.code, ended.signal, ended.stderr], [0, null, ''])
    assert.match(ended.stdout, /^Pid1Error PID1_INVALID_OPTION Expected .*PID1_GRACE_PERIOD.*"10s"/)
    assert.ok(ended.stdout.includes(`got "${text}"`), ended.stdout)
  })
}

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
