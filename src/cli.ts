#!/usr/bin/env node
import { run } from './cli/run.ts'
import { warn } from './log.ts'

const usage = `Usage: pid1 run [options] [--] command [argument …]   an init for a program in any language
       pid1 run --print-path                          where that init lies
       pid1 run --help
`

const [command, ...args] = process.argv.slice(2)
if (command === 'run') {
  run(args)
} else if (command === '--help' || command === 'help') {
  process.stdout.write(usage)
} else {
  warn(
    `Expected the command to be run, got ${command === undefined ? 'none' : JSON.stringify(command)}: see pid1 --help`,
  )
  process.exitCode = 2
}
