// Compiles pid1.c into dist/native/, for every CPU for which there is a compiler: `node native/build.js [--all]`.
// With --all, as for a release, a missing compiler is an error.
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { include_dir as headers } from 'node-api-headers'

// As Debian names them.
const packages = 'apt-get install gcc gcc-aarch64-linux-gnu, or gcc-x86-64-linux-gnu on arm64'
const targets = { x64: 'x86_64-linux-gnu-gcc', arm64: 'aarch64-linux-gnu-gcc' }

const { values } = parseArgs({ options: { all: { type: 'boolean', default: false } } })
const folder = new URL('../dist/native/', import.meta.url)
const source = new URL('pid1.c', import.meta.url)

const flags = [
  ['-std=c17', '-Os', '-Wall', '-Wextra', '-Wpedantic', '-Wconversion', '-Werror'],
  ['-DNAPI_VERSION=8', `-I${headers}`, '-shared', '-fPIC', '-fvisibility=hidden'],
  // Linked with no library, so that one file works with glibc and musl. So gcc must not call its own library either.
  ['-nostdlib', '-fno-stack-protector', '-fno-asynchronous-unwind-tables', '-s', '-Wl,--build-id=none'],
  ['-Wl,-z,relro,-z,now,-z,noseparate-code'],
  // Two builds give identical bytes, with the cross compiler or the CPU's own: gcc must not add the name of its package, or a date.
  ['-fno-ident', '-Wdate-time'],
].flat()

mkdirSync(folder, { recursive: true })
const missing = Object.keys(targets).filter((cpu) => !build(cpu))
if (missing.length > 0) {
  process.stderr.write(`No compiler for the native part on ${missing.join(', ')}: ${packages}\n`)
  if (values.all) process.exitCode = 1
}

/** False where there is no compiler for this CPU. */
function build(cpu) {
  const isHost = process.platform === 'linux' && process.arch === cpu
  return (isHost && compile('gcc', cpu)) || compile(targets[cpu], cpu)
}

function compile(compiler, cpu) {
  const object = new URL(`linux-${cpu}.node`, folder)
  const own = cpu === 'arm64' ? ['-mno-outline-atomics'] : []
  const { error, status } = spawnSync(
    compiler,
    [...flags, ...own, fileURLToPath(source), '-o', fileURLToPath(object)],
    {
      stdio: 'inherit',
    },
  )
  if (error?.code === 'ENOENT') return false
  if (error !== undefined) throw error
  if (status !== 0) process.exit(1)
  return true
}
