import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { contenders, label } from './contenders.js'
import { table } from './statistics.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const here = fileURLToPath(new URL('../', import.meta.url))

/** The size of the tarball, and of the installed package with all its dependencies, in KiB. */
export async function measureSize({ say }) {
  const results = {}
  for (const [name, { packages }] of Object.entries(contenders)) {
    if (packages.length === 0) continue
    const packed = packages.map(pack)
    const installed = dependenciesOf(packages.map((each) => join(here, 'node_modules', each)))
    // The link leads to the whole repository, but an app installs only the tarball.
    const sizes = [...installed].map((folder) =>
      folder === packagesFolder('pid1') ? packed[0].unpackedSize : sizeOf(folder),
    )
    results[name] = {
      versions: packed.map(({ id }) => id),
      tarballKib: sum(packed.map(({ size }) => size)) / 1024,
      installedKib: sum(sizes) / 1024,
      packages: installed.size,
    }
    say(`size: ${name}`)
  }
  return { results, text: show(results) }
}

const packagesFolder = (name) => join(here, 'node_modules', name)

/** The packages of the bench are packed from the registry, pid1 from its folder. */
function pack(name) {
  const folder = mkdtempSync(join(tmpdir(), 'size-'))
  const { version } = JSON.parse(readFileSync(join(packagesFolder(name), 'package.json'), 'utf8'))
  const source = name === 'pid1' ? root : `${name}@${version}`
  const said = execFileSync('npm', ['pack', '--json', '--pack-destination', folder, source], {
    encoding: 'utf8',
    stdio: 'pipe',
  })
  rmSync(folder, { recursive: true })
  // The output of the build comes first.
  const [{ id, size, unpackedSize }] = JSON.parse(said.slice(said.search(/^[[{]$/m)))
  return { id, size, unpackedSize }
}

/** The folders of packages and of all their dependencies, as they are installed here. */
function dependenciesOf(folders, seen = new Set()) {
  for (const folder of folders) {
    if (seen.has(folder)) continue
    seen.add(folder)
    const {
      dependencies = {},
      peerDependencies = {},
      peerDependenciesMeta = {},
    } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    const peers = Object.keys(peerDependencies).filter((name) => peerDependenciesMeta[name]?.optional !== true)
    dependenciesOf(
      [...Object.keys(dependencies), ...peers].map((name) => find(name, folder)),
      seen,
    )
  }
  return seen
}

/** Searches as Node does: in the `node_modules` of this folder, then in those of the folders above. */
function find(name, from) {
  const folder = join(from, 'node_modules', name)
  if (existsSync(folder)) return folder
  if (dirname(from) === from) throw new Error(`${name} is not installed`)
  return find(name, dirname(from))
}

/** Without the packages inside, which are counted separately. */
function sizeOf(path) {
  const about = statSync(path)
  if (!about.isDirectory()) return about.size
  return sum(readdirSync(path).map((name) => (name === 'node_modules' ? 0 : sizeOf(join(path, name)))))
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0)

function show(results) {
  const kib = (size) => size.toFixed(0)
  const rows = Object.entries(results).map(([name, { versions, tarballKib, installedKib, packages }]) => [
    label(name),
    versions.join(' '),
    kib(tarballKib),
    kib(installedKib),
    packages,
  ])
  return [
    'Sizes in KiB, dependencies included in what is installed:',
    table(['', 'versions', 'tarball', 'installed', 'packages'], rows),
  ].join('\n\n')
}
