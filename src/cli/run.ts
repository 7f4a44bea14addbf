import { existsSync } from 'node:fs'
import { getSystemErrorName } from 'node:util'
import { ownFile, warn } from '../log.ts'
import { native } from '../native.ts'

// As the init itself exits: wrong usage, a program that cannot be run.
const exitCodes = { wrongUsage: 2, cannotRun: 126 }

/**
 * `pid1 run`: replaces this process by the init of the native part, which reads the options and starts the command. So no Node stays in
 * front of the program, and the pid stays the same.
 */
export function run(args: readonly string[]): void {
  const machine = `${process.platform}-${process.arch}`
  const file = ownFile(`native/init-${machine}`)
  if (!existsSync(file)) {
    const advice = 'use tini, or docker run --init'
    return fail(exitCodes.wrongUsage, `there is no init for ${machine}, only for Linux on x64 and arm64: ${advice}`)
  }
  if (args[0] === '--print-path') return void process.stdout.write(`${file}\n`)
  const part = native()
  if (part === undefined) {
    return fail(
      exitCodes.wrongUsage,
      `the native part cannot be loaded, which \`pid1 run\` needs: start ${file} itself`,
    )
  }
  const failed = part.becomeInit(file, args.length, args.map((arg) => `${arg}\0`).join(''))
  fail(exitCodes.cannotRun, `cannot start ${file}: ${getSystemErrorName(failed)}`)
}

function fail(code: number, why: string): void {
  warn(`run: ${why}`)
  process.exitCode = code
}
