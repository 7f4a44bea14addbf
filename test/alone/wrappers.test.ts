import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { makeFolder } from '../helpers/folder.ts'
import { assertEnded } from '../helpers/report.ts'
import { asPid1, type Ended, fixturePath, unshare } from '../helpers/run.ts'
import { pressCtrlC, startOnTerminal } from '../helpers/terminal.ts'

// tsx kills what does not answer a signal within 30 ms, as on a busy machine it may not.
const tsx = createRequire(import.meta.url).resolve('tsx/cli')
const app = fixturePath('core/signals.js')

for (const [wrapper, command] of [
  ['npm start', ['npm', 'start']],
  ['node --watch', [process.execPath, '--watch', app]],
  ['tsx', [process.execPath, tsx, app]],
] as const) {
  test(`Ctrl-C behind ${wrapper} runs the hooks, once (child)`, async (t) => {
    const ended = await pressCtrlCBehind(t, command)
    assertEnded(ended, 130)
  })
  asPid1(`Ctrl-C behind ${wrapper} runs the hooks, once`, async (t) => {
    const ended = await pressCtrlCBehind(t, [...unshare, ...command])
    // npm raises SIGINT again, which does nothing to PID 1, and then ends with a code of its own.
    if (wrapper === 'npm start') assert.notEqual(ended.code, 0)
    else assertEnded(ended, 130)
  })
}

/** One Ctrl-C arrives as up to three SIGINTs, of which the second must not end the hook that is still running. */
async function pressCtrlCBehind(t: TestContext, command: readonly string[]): Promise<Ended> {
  const folder = makeFolder(t)
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ scripts: { start: `"${process.execPath}" "${app}"` } }))
  // tsx names a socket by its pid in there, which as PID 1 is not its own.
  const run = startOnTerminal(t, command, { HOOK_MS: '300', TMPDIR: folder }, folder)
  await run.line(/ready/)
  const ended = await pressCtrlC(run)
  assert.equal(ended.stdout.match(/hook begins: SIGINT/g)?.length, 1, ended.stdout)
  assert.equal(ended.stdout.match(/hook ends/g)?.length, 1, ended.stdout)
  return ended
}
