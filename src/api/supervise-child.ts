import type { ChildProcess } from 'node:child_process'
import { errorMonitor } from 'node:events'
import { exitCodeOfSignal, toExitCode } from '../exit/exit-code.ts'
import { checkSuperviseOptions, expectThat, isDisabled, isRevoked, type SuperviseOptions } from '../options.ts'
import { listenForForwarded } from '../signals/stop-signals.ts'
import { install } from '../start/install.ts'
import { beginOnce } from '../start/triggers.ts'
import { state, type SupervisedChild } from '../state.ts'
import { type Unregister, unregisterBy } from '../unregister.ts'

export function superviseChild(child: SupervisedChild, options: SuperviseOptions = {}): Unregister {
  expectThat(isChild(child), 'the child', 'a child process, such as `spawn` returns', child, adviceFor(child))
  const own = checkSuperviseOptions(options)
  if (isDisabled()) return unregisterBy(() => {})
  install()
  const emitter = child as unknown as NodeJS.EventEmitter
  const forget = () => {
    if (state.supervised.get(child) === own) state.supervised.delete(child)
    child.off('exit', onEnd)
    emitter.off(errorMonitor, onError)
    listenForForwarded(own.forward)
  }
  const onEnd = (code: number | null, signal: NodeJS.Signals | null) => {
    forget()
    if (own.endsService === true) beginOnce(...endOf(child, code, signal))
  }
  // By errorMonitor, so that an error without a listener stays an uncaught error. A child that runs may emit other errors too.
  const onError = ({ errno = -1 }: NodeJS.ErrnoException) => {
    if (child.pid === undefined) onEnd(errno, null)
  }
  state.supervised.set(child, own)
  child.once('exit', onEnd)
  emitter.once(errorMonitor, onError)
  listenForForwarded(own.forward)
  const { exitCode = null, signalCode = null } = child as Partial<ChildProcess>
  if (exitCode !== null || signalCode !== null) onEnd(exitCode, signalCode)
  return unregisterBy(forget)
}

/** Why the service shuts down, and with which code. Like a shell: 127 if a program is not found, 126 if it cannot be started. */
function endOf(child: SupervisedChild, code: number | null, signal: NodeJS.Signals | null): [string, number] {
  if (child.pid === undefined) {
    const name = process.getBuiltinModule('node:util').getSystemErrorName(code ?? -1)
    return [`a child could not be started: ${name}`, name === 'ENOENT' ? 127 : 126]
  }
  const exitCode = signal === null ? toExitCode(code) : exitCodeOfSignal(signal)
  return [`child ${child.pid} ended with ${signal ?? `code ${code}`}`, exitCode]
}

function isChild(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    !isRevoked(value) &&
    'once' in value &&
    'off' in value &&
    value !== process &&
    isProcess(value)
  )
}

/** `pid` is undefined where the child could not be started. A cluster worker has `kill` too, and its `process` is the child. */
function isProcess(value: object): boolean {
  const { pid, kill, process: child } = value as Readonly<Record<'pid' | 'kill' | 'process', unknown>>
  return typeof pid === 'number' || (pid === undefined && typeof kill === 'function' && child === undefined)
}

function adviceFor(value: unknown): string {
  const isClusterWorker =
    !isRevoked(value) && isChild((value as { readonly process?: unknown } | null | undefined)?.process)
  return isClusterWorker ? ': write worker.process' : ''
}
