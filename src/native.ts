import { isWorker } from './environment.ts'
import { complain, note } from './log.ts'

/**
 * The operations of `native/pid1.c`, which says what each does. Each takes and answers with whole numbers (times in
 * milliseconds), and where it failed with `-errno`.
 */
export interface Native {
  reap(pid: number): number
  becomeSubreaper(): number
  watchSignal(signal: number): number
  setWatchdog(ms: number): number
  startWatchdog(ms: number): number
  stopWatchdog(): number
  ageOfArrival(): number
  isFromTerminal(): number
  leaveAfter(code: number, ms: number): number
  tellStep(step: string): void
  refuseNew(fd: number): number
  dropNew(fd: number): number
  enlargeQueue(fd: number): number
  isListening(fd: number): number
  queueLength(fd: number): number
  queueLimit(fd: number): number
  handshakes(fd: number): number
  silentMs(fd: number): number
  undelivered(port: number, version: 4 | 6): number
}

/** The native part, or undefined where there is none for this machine, or where it may not be loaded. */
export function native(): Native | undefined {
  loaded ??= load()
  return loaded === 'absent' ? undefined : loaded
}

/**
 * PID 1 cannot do its work without it, and an app that was bundled loses the file silently. Who starts Node with `--no-addons`
 * or `--permission` knows.
 */
export function warnOfAbsence(): void {
  if (native() !== undefined || process.platform !== 'linux' || whyAbsent === undefined) return
  if ((whyAbsent as NodeJS.ErrnoException).code === 'ERR_DLOPEN_DISABLED') return
  complain(`orphans are not reaped, and a blocked process is not ended, without the native part: ${whyAbsent.message}`)
}

let whyAbsent: Error | undefined
let loaded: Native | 'absent' | undefined

/** By `process.dlopen`: a `require` would have to be made first, and a bundler that meets one looks for the file. */
function load(): Native | 'absent' {
  const name = `${process.platform}-${process.arch}`
  try {
    if (isWorker()) throw new Error('signals and children are those of the main thread')
    if (process.platform !== 'linux') throw new Error('it is for Linux')
    const { fileURLToPath } = process.getBuiltinModule('node:url')
    const module = { exports: {} }
    process.dlopen(module, fileURLToPath(new URL(`native/${name}.node`, import.meta.url)))
    return module.exports as Native
  } catch (error) {
    // No prebuilt for this CPU; --no-addons; --permission; bundled without it.
    whyAbsent = error as Error
    note('native', 'absent on %s: %s', name, whyAbsent.message)
    return 'absent'
  }
}
