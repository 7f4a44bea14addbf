// Writes the lock file of each example: `node examples/lock.js [EXAMPLE...]`, after `npm run build`. The entry of `pid1` comes from this
// project, without an address and a hash, because they are not known before this version is published.
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const project = fileURLToPath(new URL('../', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'lock-'))
const given = process.argv.slice(2)
const examples = given.length > 0 ? given : readdirSync(join(project, 'examples'))

try {
  npm(folder, 'pack', project)
  const [tarball] = readdirSync(folder)
  for (const example of examples) writeLock(join(project, 'examples', example), join(folder, tarball))
} finally {
  rmSync(folder, { recursive: true })
}

function writeLock(example, tarball) {
  const manifest = join(example, 'package.json')
  if (!existsSync(manifest)) return
  const copy = mkdtempSync(join(folder, 'example-'))
  cpSync(manifest, join(copy, 'package.json'))
  npm(copy, 'install', '--package-lock-only', '--omit-lockfile-registry-resolved', tarball)
  const lock = JSON.parse(readFileSync(join(copy, 'package-lock.json'), 'utf8'))
  const { '': root, 'node_modules/pid1': pid1 } = lock.packages
  root.dependencies = JSON.parse(readFileSync(manifest, 'utf8')).dependencies
  delete pid1.resolved
  delete pid1.integrity
  writeFileSync(join(example, 'package-lock.json'), `${JSON.stringify(lock, null, 2)}\n`)
}

function npm(cwd, ...args) {
  execFileSync('npm', [...args, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
}
