import assert from 'node:assert/strict'
import fs from 'node:fs'
import { mock, test } from 'node:test'
import { listDescendants } from '../src/platform/processes.ts'
import { assertTook } from './helpers/time.ts'

test('the time to scan 20 000 children does not grow with the square of their number', (t) => {
  t.after(() => mock.restoreAll())
  const count = 20_000
  const first = process.pid + 1
  const parentOf = (pid: number) => (pid === process.pid ? 1 : pid < first + count ? process.pid : first)
  mock.method(fs, 'readlinkSync', () => String(process.pid))
  mock.method(fs, 'readdirSync', () => Array.from({ length: count + 3 }, (_, n) => String(process.pid + n)))
  mock.method(fs, 'readFileSync', (file: string) => {
    const pid = /^\/proc\/(\d+)\/stat$/.exec(file)?.[1]
    if (pid === undefined) throw new Error('CONFIG_PROC_CHILDREN is missing')
    return `${pid} (a (strange) name) S ${parentOf(Number(pid))} ${'0 '.repeat(15)}1 0 ${pid} 0`
  })
  const startedAt = performance.now()
  const found = listDescendants()
  const ms = performance.now() - startedAt
  assert.equal(found.length, count + 2)
  const { name, parent, pid, state, startTime, threads } = found.at(-1) ?? assert.fail()
  assert.deepEqual(
    { name, parent, state, startTime, threads },
    { name: 'a (strange) name', parent: first, state: 'S', startTime: pid, threads: 1 },
  )
  assertTook(ms, { under: 1000 })
})
