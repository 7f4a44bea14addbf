import { debug, ownFile, warn } from './log.ts'
import { isWorker } from './platform/this-process.ts'

/**
 * The operations of `native/pid1.c`, which says what each does. They take and return whole numbers. Times are in milliseconds. A
 * negative result is `-errno`.
 */
export interface Native {
  reap(pid: number): number
  becomeSubreaper(): number
  watchSignal(signal: number, isOurs: 0 | 1): number
  takeSignal(signal: number): number
  makeTimer(): number
  prepareWatchdog(ms: number): number
  startWatchdog(ms: number): number
  stopWatchdog(): number
  ageOfArrival(): number
  isFromTerminal(): number
  dieOf(signal: number): number
  isFromSelf(signal: number): number
  exitWithin(code: number, ms: number): number
  setStep(step: string): void
  becomeInit(file: string, count: number, text: string): number
  refuseNew(fd: number): number
  dropNew(fd: number): number
  enlargeQueue(fd: number): number
  isListening(fd: number): number
  queueLength(fd: number): number
  queueLimit(fd: number): number
  handshakes(fd: number, due?: 0 | 1): number
  idleMs(fd: number): number
  unreadBytes(fd: number): number
  undelivered(port: number, version: 4 | 6): number
}

let loaded: Native | 'absent' | undefined
let whyAbsent: Error | undefined

/** The native part. Undefined where there is none for this machine, and where it cannot or must not be loaded. */
export function native(): Native | undefined {
  loaded ??= load()
  return loaded === 'absent' ? undefined : loaded
}

/**
 * Prints one line if the native part is missing, because PID 1 cannot do its work without it, and a bundler loses the file silently.
 * Prints nothing with `--no-addons` or `--permission`, because whoever passes such an option expects this.
 */
export function warnOfAbsence(): void {
  if (native() !== undefined || process.platform !== 'linux' || whyAbsent === undefined) return
  if ((whyAbsent as NodeJS.ErrnoException).code === 'ERR_DLOPEN_DISABLED') return
  warn(
    `the native part is missing, so orphans are not reaped and a blocked process is not ended: ${whyAbsent.message}. ` +
      'If the app is bundled, copy node_modules/pid1/dist/native beside the bundle',
  )
}

/** Loads it by `process.dlopen`, because `require` would need `createRequire`, and bundlers try to resolve its argument. */
function load(): Native | 'absent' {
  const name = `${process.platform}-${process.arch}`
  try {
    if (isWorker()) throw new Error('signals and children are those of the main thread')
    if (process.platform !== 'linux') throw new Error('it is for Linux')
    const module = { exports: {} }
    process.dlopen(module, ownFile(`native/${name}.node`))
    return module.exports as Native
  } catch (error) {
    // No prebuilt for this CPU; --no-addons; --permission; bundled without it.
    whyAbsent = error as Error
    debug('native', 'absent on %s: %s', name, whyAbsent.message)
    return 'absent'
  }
}
