import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stoppers } from './contenders.js'
import { table } from './statistics.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const here = fileURLToPath(new URL('../', import.meta.url))
const packages = {
  terminus: '@godaddy/terminus',
  'server-close': undefined,
  nestjs: '@nestjs/core',
  effect: '@effect/platform-node',
}

/** What npm packs, and what an install of the package alone puts on the disk, in KiB. */
export async function measureSizes({ say }) {
  const results = {}
  for (const contender of stoppers) {
    const name = contender in packages ? packages[contender] : contender
    if (name === undefined) continue
    const folder = mkdtempSync(join(tmpdir(), 'size-'))
    const about = name === 'pid1' ? root : join(here, 'node_modules', name)
    const { version } = JSON.parse(readFileSync(join(about, 'package.json'), 'utf8'))
    const source = name === 'pid1' ? root : `${name}@${version}`
    const packed = npm('pack', '--json', '--pack-destination', folder, source)
    const [{ filename, size }] = JSON.parse(packed.slice(packed.indexOf('[\n')))
    const installed = name === 'pid1' ? join(folder, filename) : source
    npm('install', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', installed)
    const modules = join(folder, 'node_modules')
    results[contender] = {
      version,
      tarballKib: size / 1024,
      installedKib: sizeOf(modules) / 1024,
      packages: countIn(modules),
    }
    rmSync(folder, { recursive: true })
    say(`sizes: ${name}`)
  }
  return { results, text: show(results) }
}

function npm(...args) {
  return execFileSync('npm', args, { encoding: 'utf8', stdio: 'pipe' })
}

function sizeOf(path) {
  const about = statSync(path)
  return about.isDirectory() ? readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0) : about.size
}

function countIn(modules) {
  const all = readdirSync(modules, { recursive: true }).filter((path) => path.endsWith('package.json'))
  return all.filter((path) => /(^|node_modules\/)(@[^/]+\/)?[^/]+$/.test(dirname(path))).length
}

function show(results) {
  const kib = (size) => size.toFixed(0)
  const rows = Object.entries(results).map(([name, { version, tarballKib, installedKib, packages: count }]) => [
    name,
    version,
    kib(tarballKib),
    kib(installedKib),
    count,
  ])
  return [
    'Sizes in KiB, dependencies included in what is installed:',
    table(['', 'version', 'tarball', 'installed', 'packages'], rows),
  ].join('\n\n')
}
