import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertEnded, stop } from './helpers/report.ts'
import { start } from './helpers/run.ts'

const hostileErrors =
  'stack|message|name|code|constructor|cause|own inspect|toPrimitive|frozen error|revoked proxy|null|undefined|symbol|getter then'.split(
    '|',
  )

for (const [where, outcome, code, errors, values] of [
  ['thrown', 'failed', 1, 0, hostileErrors],
  ['rejected', 'failed', 1, 0, hostileErrors],
  ['uncaught', 'done', 1, 1, hostileErrors],
  ['onReport', 'done', 0, 0, hostileErrors],
  ['onExit', 'done', 0, 0, hostileErrors],
  ['returned', 'failed', 1, 0, ['then throws', 'getter then', 'then calls twice', 'promise with a bad constructor']],
  ['returned', 'cut', 124, 0, ['then never calls']],
  ['returned', 'done', 0, 0, ['symbol', 'null', 'stack', 'frozen error']],
] as const) {
  test(`whatever is ${where} (${values.join(', ')}), the shutdown goes on: ${outcome}`, async (t) => {
    await Promise.all(
      values.map(async (value) => {
        const ended = await stop(start(t, 'core/hostile.js', { args: [value, where] }))
        assertEnded(ended, code)
        const said = `hooks: ${outcome} done, errors: ${errors}`
        assert.equal(ended.stdout, `ready\nlogs run\n${said}\nexit callback runs\n`, value)
        const isPrinted = code !== 0 || where.startsWith('on')
        assert.equal(ended.stderr !== '', isPrinted, ended.stderr)
      }),
    )
  })
}

test('DEBUG shows an error that cannot be inspected', async (t) => {
  for (const value of ['stack', 'own inspect', 'revoked proxy']) {
    const ended = await stop(start(t, 'core/hostile.js', { args: [value, 'thrown'], env: { DEBUG: 'pid1:*' } }))
    assertEnded(ended, 1)
    assert.match(ended.stderr, /pid1:shutdown report: /)
    assert.match(ended.stdout, /logs run/)
  }
})
