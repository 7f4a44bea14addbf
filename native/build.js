// Compiles pid1.c and init.c into dist/native/, for every CPU for which there is a compiler: `node native/build.js [--all]`.
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
const source = (name) => fileURLToPath(new URL(name, import.meta.url))

const flags = [
  ['-Os', '-Wall', '-Wextra', '-Wpedantic', '-Wconversion', '-Werror'],
  // Linked with no library, so that one file works with glibc and musl. So gcc must not call its own library either.
  ['-nostdlib', '-fno-stack-protector', '-fno-asynchronous-unwind-tables', '-s', '-Wl,--build-id=none'],
  // Two builds give identical bytes, with the cross compiler or the CPU's own: gcc must not add the name of its package, or a date.
  ['-Wl,-z,noseparate-code', '-fno-ident', '-Wdate-time'],
].flat()
/** The addon that Node loads, and the init of `pid1 run`, a program of its own. */
const programs = [
  {
    file: source('pid1.c'),
    nameFor: (cpu) => `linux-${cpu}.node`,
    flags: [
      '-std=c17',
      '-DNAPI_VERSION=8',
      `-I${headers}`,
      '-shared',
      '-fPIC',
      '-fvisibility=hidden',
      '-Wl,-z,relro,-z,now',
    ],
  },
  {
    file: source('init.c'),
    nameFor: (cpu) => `init-linux-${cpu}`,
    flags: ['-std=gnu17', '-ffreestanding', '-static', '-no-pie', '-fno-pie', '-nostartfiles', '-Wl,-z,norelro'],
  },
]

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
  const own = cpu === 'arm64' ? ['-mno-outline-atomics'] : ['-fcf-protection=none']
  return programs.every(({ file, nameFor, flags: more }) => {
    const output = fileURLToPath(new URL(nameFor(cpu), folder))
    const { error, status } = spawnSync(compiler, [...flags, ...more, ...own, file, '-o', output], {
      stdio: 'inherit',
    })
    if (error?.code === 'ENOENT') return false
    if (error !== undefined) throw error
    if (status !== 0) process.exit(1)
    return true
  })
}
