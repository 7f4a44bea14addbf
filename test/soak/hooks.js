import { setTimeout as wait } from 'node:timers/promises'
import { isShuttingDown, onShutdown, shutdown, shutdownSignal } from 'pid1'
import { block, record } from './events.js'
import { values } from './values.js'

const unregisterById = new Map()

export function registerHook(hook) {
  const { id, named, stage, timeoutMs } = hook
  const run = (context) => runHook(hook, context)
  const options = { stage, timeoutMs }
  // Without a given name a hook has the name of its function.
  Object.defineProperty(run, 'name', { value: id })
  const unregister = named ? onShutdown(id, run, options) : onShutdown(run, options)
  unregisterById.set(id, unregister)
  record('registered', { id })
}

export function shutdownArgument(what) {
  if (what === 'nothing') return []
  if (what === 'reason') return ['asked for by hand']
  if (what === 'error') return [new Error('shutdown with an error')]
  return [{ reason: 'asked for by hand', exitCode: what }]
}

/** The steps up to the first one that takes time run synchronously, as in any async function. A sync hook returns nothing. */
function runHook(hook, context) {
  const knows =
    isShuttingDown() &&
    shutdownSignal().aborted &&
    context.remainingMs() <= Math.max(0, context.deadline - Date.now()) + 150
  record('start', { id: hook.id, deadline: context.deadline, knows })
  context.signal.addEventListener('abort', () => record('abort', { id: hook.id }))
  const run = new HookRun(hook, context)
  return hook.async || hook.steps.some(takesTime) ? run.toEnd() : run.atOnce()
}

const takesTime = ({ does, awaited }) =>
  ['wait', 'microtasks', 'hang', 'untilSignal'].includes(does) || (does === 'shutdown' && awaited)

class HookRun {
  #hook
  #context
  #after = []

  constructor(hook, context) {
    this.#hook = hook
    this.#context = context
  }

  atOnce() {
    for (const step of this.#hook.steps) this.#doAtOnce(step)
    this.#end()
  }

  async toEnd() {
    for (const step of this.#hook.steps) {
      if (takesTime(step)) await this.#doInTime(step)
      else this.#doAtOnce(step)
    }
    this.#end()
  }

  #end() {
    record('end', { id: this.#hook.id })
    for (const { hook, afterEnd } of this.#after) {
      let promise = Promise.resolve()
      for (let n = 1; n < afterEnd; n++) promise = promise.then(() => {})
      void promise.then(() => registerHook(hook))
    }
  }

  #doAtOnce(step) {
    const { id } = this.#hook
    switch (step.does) {
      case 'block':
        return block(id, step.ms)
      case 'leaveTimer':
        return void setInterval(() => {}, 50)
      case 'throw':
        record('throw', { id })
        throw values[step.value]()
      case 'throwInTick':
        return process.nextTick(() => {
          record('uncaught', { id })
          throw values[step.value]()
        })
      case 'rejectUnhandled':
        record('uncaught', { id })
        return void Promise.reject(values[step.value]())
      case 'setExitCode':
        record('setExitCode', { id, code: step.code })
        process.exitCode = step.code
        return
      case 'exit':
        record('processExit', { id, code: step.code })
        return process.exit(step.code)
      case 'shutdown':
        return void shutdown(...shutdownArgument(step.with))
      case 'register':
        if (step.afterEnd === undefined) return registerHook(step.hook)
        this.#after.push(step)
        return
      case 'unregister':
        if (!unregisterById.has(step.id)) return // a hook that is not registered yet
        unregisterById.get(step.id)()
        return record('unregistered', { id: step.id })
      case 'print':
        record('print', { id, bytes: step.bytes })
        return void process.stdout.write(`${'x'.repeat(step.bytes - 1)}\n`)
      default:
        throw new Error(`Unknown step ${step.does}`)
    }
  }

  async #doInTime(step) {
    switch (step.does) {
      case 'wait':
        return wait(step.ms)
      case 'microtasks':
        for (let n = 0; n < step.count; n++) await Promise.resolve()
        return
      case 'hang':
        return new Promise(() => {})
      case 'untilSignal': {
        const { signal } = this.#context
        if (!signal.aborted) await new Promise((resolve) => void signal.addEventListener('abort', resolve))
        return
      }
      default:
        await shutdown(...shutdownArgument(step.with))
    }
  }
}
