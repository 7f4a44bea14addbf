// Refuses a release that is not ready, and says everything that is missing: `node .github/check-release.js [--tag v1.2.3]`.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

const { values } = parseArgs({ options: { tag: { type: 'string' } } })
const manifest = JSON.parse(readFileSync('package.json', 'utf8'))
const faults = [...withoutHome(), ...withoutChangelog(), ...ofOtherTag(), ...notCommitted()]
for (const fault of faults) process.stderr.write(`The release is refused: ${fault}\n`)
if (faults.length > 0) process.exitCode = 1

/** npm compares `repository` with where the provenance comes from. Without it the links of the README lead nowhere on npm. */
function withoutHome() {
  return ['homepage', 'bugs', 'repository']
    .filter((key) => manifest[key] === undefined)
    .map((key) => `package.json has no "${key}". Add the address of the project's public repository.`)
}

function withoutChangelog() {
  const heading = `## [${manifest.version}] - `
  const isThere = readFileSync('CHANGELOG.md', 'utf8')
    .split('\n')
    .some((line) => line.startsWith(heading) && /^\d{4}-\d\d-\d\d$/.test(line.slice(heading.length)))
  return isThere ? [] : [`CHANGELOG.md has no heading "${heading}YYYY-MM-DD".`]
}

function ofOtherTag() {
  const { tag } = values
  const expected = `v${manifest.version}`
  return tag === undefined || tag === expected ? [] : [`the tag is ${tag}, and package.json expects ${expected}.`]
}

function notCommitted() {
  const changes = execFileSync('git', ['status', '--porcelain'], { encoding: 'utf8' }).split('\n').filter(Boolean)
  return changes.length === 0 ? [] : [`the tree has changes that are not committed: ${changes.join(', ')}`]
}
