import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { projectFolder } from './helpers/installed-app.ts'

test('a file that fails beside others and passes alone has passed', (t) => {
  const { code, output } = runFiles(t, ['good', 'late'], [])
  assert.equal(code, 0, output)
  assert.match(output, /^# failed beside others, and runs again, alone: .*late\.test\.js$/m)
})

test('a file that fails beside others and alone has failed', (t) => {
  const { code, output } = runFiles(t, ['good', 'bad'], [])
  assert.equal(code, 1, output)
  assert.match(output, /^# failed: .*bad\.test\.js$/m)
  assert.equal(output.match(/^# (failed beside|failed)/gm)?.length, 2)
})

test('files that run one after the other are not repeated', (t) => {
  const { code, output } = runFiles(t, ['good', 'late'], ['--at-once', '1'])
  assert.equal(code, 1, output)
  assert.doesNotMatch(output, /runs again/)
})

/** `late` passes when it runs for the second time. */
function runFiles(t: TestContext, names: readonly string[], options: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'runner-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const bodies: Readonly<Record<string, string>> = {
    good: '',
    bad: 'throw new Error("bad")',
    late: `
      const file = ${JSON.stringify(join(folder, 'mark'))}
      if (!fs.existsSync(file)) { fs.writeFileSync(file, ''); throw new Error('late') }`,
  }
  const files = names.map((name) => {
    const file = join(folder, `${name}.test.js`)
    writeFileSync(file, `const fs = require('node:fs'); require('node:test')('${name}', () => { ${bodies[name]} })`)
    return file
  })
  // Not as a part of the runner that runs this test.
  const { NODE_TEST_CONTEXT: _context, ...env } = process.env
  const command = [join(projectFolder, 'test', 'run.js'), ...options, ...files]
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8', cwd: projectFolder, env })
  return { code: status, output: stdout + stderr }
}
