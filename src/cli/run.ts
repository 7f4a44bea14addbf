import { codeOf, warn } from '../log.ts'
import { native, nativeFile } from '../native.ts'

// As the init itself exits: wrong usage, a program that cannot be run.
const exitCodes = { wrongUsage: 2, cannotRun: 126 }

/**
 * `pid1 run`: replaces this process by the init of the native part, which reads the options and starts the command. So no Node stays in
 * front of the program, and the pid stays the same.
 */
export function run(args: readonly string[]): void {
  const file = nativeFile(`init-${process.platform}-${process.arch}`)
  if (!exists(file)) {
    fail(
      `there is no init for ${process.platform}-${process.arch}, only for Linux on x64 and arm64: use tini, or docker run --init`,
    )
  } else if (args[0] === '--print-path') {
    process.stdout.write(`${file}\n`)
  } else {
    // Whatever it is that the option keeps away, an init may not do without it silently.
    const part = native()
    if (part === undefined)
      return fail(`the native part cannot be loaded, which \`pid1 run\` needs: start ${file} itself`)
    const failed = part.becomeInit(file, args.length, args.map((arg) => `${arg}\0`).join(''))
    const name = process.getBuiltinModule('node:util').getSystemErrorName(failed)
    warn(`run: cannot start ${file}: ${name}`)
    process.exitCode = exitCodes.cannotRun
  }
}

function fail(why: string): void {
  warn(`run: ${why}`)
  process.exitCode = exitCodes.wrongUsage
}

function exists(file: string): boolean {
  try {
    process.getBuiltinModule('node:fs').accessSync(file)
    return true
  } catch (error) {
    return codeOf(error) !== 'ENOENT'
  }
}
