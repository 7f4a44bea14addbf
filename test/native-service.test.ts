import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { assertEnded } from './helpers/report.ts'
import { asPid1, start } from './helpers/run.ts'

// In short what the library does with its native part, and without bounds of time: CI runs it under an emulator too.
for (const [holder, code, stderr] of [
  ['nothing', 0, /^$/],
  ['the thread pool', 0, /^$/],
  ['the loop', 124, /^pid1: ended with 124: the event loop was blocked for \d+ ms, during cleanup, "hook"\n$/],
] as const) {
  asPid1(`a service that ${holder} delays has its orphans reaped, and exits with ${code}`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'service-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    const run = start(t, 'native/service.js', { pid1: true, args: [holder], env: { FOLDER: folder } })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, code)
    assert.equal(ended.stdout, 'native true\nready\n')
    assert.match(ended.stderr, stderr)
  })
}
