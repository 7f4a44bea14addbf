// Plays a scenario: `node app.js SCENARIO-FILE LOG-FILE`. Prints `ready` when all is set up, and begins at a line on stdin.
import { readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { configure, onExit, shutdown } from 'pid1'
import { startChildren } from './children.js'
import { record } from './events.js'
import { registerHook, shutdownArgument } from './hooks.js'
import { listenAll } from './servers.js'
import { values } from './values.js'

const scenario = JSON.parse(readFileSync(process.argv[2], 'utf8'))

configure({
  ...Object.fromEntries(scenario.undefinedOptions.map((name) => [name, undefined])),
  ...scenario.options,
  onReport: (report) => record('report', { report: withoutErrors(report) }),
})
scenario.hooks.forEach(registerHook)
scenario.exitCallbacks.forEach(registerExitCallback)
const keepAlive = setInterval(() => {}, 1000)
const ports = await listenAll(scenario.servers)
await startChildren(scenario.children)
await Promise.all(scenario.workers.map(startWorker))

// Written synchronously, because a pipe must not keep the loop alive.
process.stdin.once('data', () => {
  process.stdin.destroy()
  record('go')
  scenario.triggers.forEach((trigger, index) => setTimeout(begin, trigger.atMs, trigger, index))
})
console.log(`ready ${JSON.stringify(ports)}`)

/** An error may be any value, even one that JSON cannot express. */
function withoutErrors({ errors, stages, ...report }) {
  const hooksOf = ({ hooks, ...stage }) => ({
    ...stage,
    hooks: hooks.map(({ name, outcome, durationMs }) => ({ name, outcome, durationMs })),
  })
  return { ...report, errors: errors.map(() => ({})), stages: stages.map(hooksOf) }
}

function registerExitCallback({ does }, index) {
  const unregister = onExit((code, signal) => {
    record('exit', { index, code, signal })
    if (does === 'unregistersItself') unregister()
    if (does === 'throws') throw new Error(`exit callback ${index}`)
  })
}

function startWorker(kind) {
  const code = {
    idle: `setInterval(() => {}, 1000)`,
    busy: `for (;;);`,
    sleeping: `Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)`,
  }[kind]
  const worker = new Worker(`require('node:worker_threads').parentPort.postMessage('ready');${code}`, { eval: true })
  return new Promise((resolve) => void worker.once('message', resolve))
}

function begin(trigger, index) {
  if (trigger.does === 'signal') return // the test sends it
  record('trigger', { index })
  switch (trigger.does) {
    case 'shutdown':
      void shutdown(...shutdownArgument(trigger.with))
      break
    case 'throw':
      throw values[trigger.value]()
    case 'reject':
      void Promise.reject(values[trigger.value]())
      break
    case 'setExitCode':
      process.exitCode = trigger.code
      break
    case 'exit':
      process.exit(trigger.code)
      break
    case 'empty':
      clearInterval(keepAlive)
      break
    default:
      throw new Error(`Unknown trigger ${trigger.does}`)
  }
}
