import { debug } from '../log.ts'

/** The spare file descriptor. */
let spare: number | undefined

/** Whether `/proc` belongs to our PID namespace, once known. */
let isOurs: boolean | undefined

/** What `/proc` tells of a process. All functions here find nothing if `/proc` is hidden, not permitted, or of another namespace. */
export interface Process {
  readonly pid: number
  /** The name of the program, cut to 15 characters. */
  readonly name: string
  readonly parent: number
  /** One letter: R, S, D, T (stopped), Z (zombie) … */
  readonly state: string
  readonly threads: number
  /** Clock ticks between the start of the machine and of the process. Tells a process from an earlier one with the same pid. */
  readonly startTime: number
}

/** Whether the process still runs. A zombie that has other threads still runs: only its main thread has exited. */
export function isAlive({ state, threads }: Process): boolean {
  return (state !== 'Z' && state !== 'X') || threads > 1
}

export function readProcess(pid: number): Process | undefined {
  return readStat(pid, String(pid))
}

/** Skips processes that `/proc` hides. */
function listProcesses(): Process[] {
  return numbersIn('').flatMap((pid) => readProcess(pid) ?? [])
}

/**
 * All descendants of this process, children first. PID 1 reads the whole of `/proc`, because nearly every process there is its
 * descendant. An ordinary process reads the lists of children, because the host may have many other processes.
 */
export function listDescendants(): Process[] {
  if (process.pid === 1 || childrenOfMainThread() === undefined) return selectDescendants(listProcesses())
  // The kernel may omit entries while children exit, so a list without a living process is read twice.
  const found = descend()
  return found.some(isAlive) ? found : descend()
}

/**
 * The children of the main thread, to which the kernel re-parents orphans. The children of a worker thread stay with it until it exits.
 * If the kernel was built without that list (CONFIG_PROC_CHILDREN), the children of all threads. Undefined if `/proc` cannot be read.
 */
export function listChildren(): number[] | undefined {
  return childrenOfMainThread() ?? scanForChildren()
}

/** The children of all threads. Undefined if `/proc` cannot be read. */
export function listAllChildren(): number[] | undefined {
  return childrenOfMainThread() === undefined ? scanForChildren() : childrenOf(process.pid)
}

/** Sends a signal. False if that is not permitted: the process belongs to another user, or seccomp forbids it. */
export function sendSignal(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch (error) {
    debug('children', 'cannot signal %d: %o', pid, error)
    return (error as NodeJS.ErrnoException).code === 'ESRCH' // the process has ended
  }
}

/** The file descriptors of this process. */
export function listOpenFiles(): number[] {
  return numbersIn(`${process.pid}/fd`)
}

/** Whether a socket of this process is open in a descendant too, as after `child.send(message, server)`. */
export function isOpenElsewhere(fd: number): boolean {
  if (listAllChildren()?.length === 0) return false
  const socket = readLink(`${process.pid}/fd/${fd}`)
  const isOpenIn = ({ pid }: Process) => numbersIn(`${pid}/fd`).some((its) => readLink(`${pid}/fd/${its}`) === socket)
  return socket !== undefined && listDescendants().some(isOpenIn)
}

/** The first thread that Node has started, because the process may have been a shell before. Undefined if it cannot be read. */
export function firstThreadOfNode(): Process | undefined {
  const threads = numbersIn(`${process.pid}/task`).filter((thread) => thread !== process.pid)
  const started = threads.flatMap((thread) => readStat(thread, `${process.pid}/task/${thread}`) ?? [])
  return started.toSorted((one, other) => one.startTime - other.startTime || one.pid - other.pid)[0]
}

/**
 * Opens a spare file descriptor. If the app has used up all others (EMFILE), a shutdown could not find the children without it, and the
 * kernel would kill them.
 */
export function openSpareDescriptor(): void {
  if (process.platform === 'linux') spare ??= openSpare()
}

function openSpare(): number | undefined {
  try {
    return process.getBuiltinModule('node:fs').openSync('/dev/null', 'r')
  } catch {
    return undefined // not permitted, or no descriptor is left
  }
}

/** Reads with the spare descriptor if no other is left. Reads in one synchronous step, so that no connection takes the descriptor. */
function withDescriptor<Result>(readIt: () => Result): Result {
  try {
    return readIt()
  } catch (error) {
    if (spare === undefined || !isOutOfDescriptors(error)) throw error
    process.getBuiltinModule('node:fs').closeSync(spare)
    spare = undefined
    try {
      return readIt()
    } finally {
      spare = openSpare()
    }
  }
}

function isOutOfDescriptors(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EMFILE' || error.code === 'ENFILE')
}

function selectDescendants(processes: readonly Process[]): Process[] {
  const byParent = new Map<number, Process[]>()
  for (const found of processes) {
    const siblings = byParent.get(found.parent)
    if (siblings === undefined) byParent.set(found.parent, [found])
    else siblings.push(found)
  }
  const descendants = [...(byParent.get(process.pid) ?? [])]
  for (const { pid } of descendants) for (const child of byParent.get(pid) ?? []) descendants.push(child)
  return descendants
}

function descend(): Process[] {
  const descendants: Process[] = []
  const seen = new Set([process.pid])
  const add = (pid: number) => {
    const found = seen.has(pid) ? undefined : readProcess(pid)
    if (found === undefined) return
    seen.add(pid)
    descendants.push(found)
  }
  childrenOf(process.pid).forEach(add)
  for (const found of descendants) if (isAlive(found)) childrenOf(found.pid, found.threads).forEach(add)
  return descendants
}

function childrenOf(pid: number, threads = Infinity): number[] {
  const ids = threads === 1 ? [pid] : numbersIn(`${pid}/task`)
  return ids.flatMap((thread) => readChildren(pid, thread) ?? [])
}

function childrenOfMainThread(): number[] | undefined {
  return readChildren(process.pid, process.pid)
}

function readChildren(pid: number, thread: number): number[] | undefined {
  return read(`${pid}/task/${thread}/children`)?.split(' ').filter(Boolean).map(Number)
}

function scanForChildren(): number[] | undefined {
  const processes = listProcesses()
  return processes.length === 0
    ? undefined
    : processes.flatMap(({ pid, parent }) => (parent === process.pid ? pid : []))
}

function readStat(pid: number, folder: string): Process | undefined {
  // The name stands in parentheses, and may contain parentheses and spaces.
  const [, name = '', rest] = /^\d+ \((.*)\) (.*)$/s.exec(read(`${folder}/stat`) ?? '') ?? []
  if (rest === undefined) return undefined
  const fields = rest.split(' ')
  const [state = '', parent] = fields
  return { pid, name, parent: Number(parent), state, threads: Number(fields[17]), startTime: Number(fields[19]) }
}

function numbersIn(folder: string): number[] {
  if (!isOurNamespace()) return []
  try {
    const { readdirSync } = process.getBuiltinModule('node:fs')
    return withDescriptor(() => readdirSync(`/proc/${folder}`))
      .map(Number)
      .filter(Boolean)
  } catch {
    return [] // /proc is hidden, or reading it is not permitted
  }
}

function read(file: string): string | undefined {
  if (!isOurNamespace()) return undefined
  try {
    const { readFileSync } = process.getBuiltinModule('node:fs')
    return withDescriptor(() => readFileSync(`/proc/${file}`, 'utf8'))
  } catch {
    return undefined // the process has ended, /proc is hidden, or reading it is not permitted
  }
}

/** Whether `/proc` belongs to our PID namespace. If not, its pids belong to other processes. */
function isOurNamespace(): boolean {
  isOurs ??= readLink('self') === String(process.pid)
  return isOurs
}

function readLink(file: string): string | undefined {
  try {
    return process.getBuiltinModule('node:fs').readlinkSync(`/proc/${file}`)
  } catch {
    return undefined // the process belongs to another user, or as above
  }
}
