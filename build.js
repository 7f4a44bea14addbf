import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'

const entryPoints = ['index', 'fastify', 'register', 'cli']

// All but the native part, which has a build of its own: what an older build has left would be published.
for (const name of existsSync('dist') ? readdirSync('dist') : []) {
  if (name !== 'native') rmSync(join('dist', name), { recursive: true })
}
// Started by its file, because on Windows the command `tsc` is a shell script.
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' })
removeUnusedDeclarations()

// One file: Node 20 takes a third of a millisecond for every module that it loads, and an import must stay under 10 ms.
await build({
  entryPoints: entryPoints.map((name) => `src/${name}.ts`),
  outdir: 'dist',
  bundle: true,
  packages: 'external',
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  sourcemap: true,
  logLevel: 'warning',
})

chmodSync(join('dist', 'cli.js'), 0o755)

/** Keeps only the declarations that those of the entry points import. */
function removeUnusedDeclarations() {
  const used = new Set(entryPoints.filter((name) => name !== 'cli').map((name) => join('dist', `${name}.d.ts`)))
  for (const file of used) {
    const imports = readFileSync(file, 'utf8').matchAll(/(?:from |import\()['"](\.[^'"]+)\.[jt]s['"]/g)
    for (const [, path] of imports) used.add(join(dirname(file), `${path}.d.ts`))
  }
  for (const entry of readdirSync('dist', { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath ?? entry.path, entry.name)
    if (entry.name.endsWith('.d.ts') && !used.has(file)) rmSync(file)
  }
  for (const entry of readdirSync('dist', { withFileTypes: true })) {
    const folder = join('dist', entry.name)
    if (entry.isDirectory() && readdirSync(folder, { recursive: true }).every((name) => !name.includes('.'))) {
      rmSync(folder, { recursive: true })
    }
  }
}
