// Runs test files, several beside each other: node test/run.js [--at-once 4] FILE…
//
// Most tests wait for most of their time, so that they are run beside each other, and many of them are about time. A file whose test
// fails beside others runs once more, alone, and that run counts: a machine that others keep busy is late, but a fault comes again.
import { spawn } from 'node:child_process'
import { statSync } from 'node:fs'
import { parseArgs } from 'node:util'

const { values, positionals: files } = parseArgs({
  allowPositionals: true,
  options: { 'at-once': { type: 'string', default: '4' } },
})
const atOnce = Number(values['at-once'])
if (files.length === 0 || !(atOnce >= 1)) throw new Error('Usage: node test/run.js [--at-once 4] FILE…')

// The large ones first, so that the last one does not run for long when all others have ended.
const waiting = files.toSorted((a, b) => statSync(a).size - statSync(b).size)
const failed = []
await Promise.all(Array.from({ length: atOnce }, runInTurn))
for (const file of failed) {
  if (atOnce > 1) console.log(`# failed beside others, and runs again, alone: ${file}`)
  if (atOnce > 1 && (await run(file))) continue
  console.log(`# failed: ${file}`)
  process.exitCode = 1
}

async function runInTurn() {
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) if (!(await run(file))) failed.push(file)
}

/**
 * Prints what the file printed when it has ended, and how long it ran. Returns whether all its tests passed. Without `--test`, which would
 * start one more process.
 */
function run(file) {
  const startedAt = performance.now()
  const args = ['--import', 'tsx', '--test-timeout=300000', file]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const output = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => output.push(data))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      process.stdout.write(Buffer.concat(output))
      console.log(`# ${Math.round((performance.now() - startedAt) / 1000)} s for ${file}`)
      resolve(code === 0)
    })
  })
}
