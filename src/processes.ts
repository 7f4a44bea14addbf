/** What `/proc` tells of a process. Everything here is empty where `/proc` is hidden, not permitted, or another namespace's. */
export interface Process {
  readonly pid: number
  readonly parent: number
  /** One letter: R, S, D, T (stopped), Z (zombie) … */
  readonly state: string
  readonly threads: number
  /** Clock ticks since the machine started. With it a pid that was given out again is told from its predecessor. */
  readonly startTime: number
}

/** Does it still run? With threads a zombie does: it is only its main thread that has left. */
export function isAlive({ state, threads }: Process): boolean {
  return (state !== 'Z' && state !== 'X') || threads > 1
}

export function readProcess(pid: number): Process | undefined {
  return readStat(pid, String(pid))
}

/** Not those of whom `/proc` says nothing. */
export function listProcesses(): Process[] {
  return numbersIn('').flatMap((pid) => readProcess(pid) ?? [])
}

/** All that descend from this process, its children first. */
export function listDescendants(): Process[] {
  const childrenOf = new Map<number, Process[]>()
  for (const found of listProcesses()) childrenOf.set(found.parent, [...(childrenOf.get(found.parent) ?? []), found])
  const descendants = [...(childrenOf.get(process.pid) ?? [])]
  for (const { pid } of descendants) descendants.push(...(childrenOf.get(pid) ?? []))
  return descendants
}

/**
 * The children of the main thread, to which the kernel gives orphans. Those of a worker are the worker's, until it ends. Where
 * the kernel was built without that list (CONFIG_PROC_CHILDREN), the children of all threads.
 */
export function listChildren(): number[] {
  const list = read(`${process.pid}/task/${process.pid}/children`)
  if (list !== undefined) return list.split(' ').filter(Boolean).map(Number)
  return listProcesses().flatMap(({ pid, parent }) => (parent === process.pid ? pid : []))
}

/** The file descriptors of this process. */
export function listOpenFiles(): number[] {
  return numbersIn(`${process.pid}/fd`)
}

/** Is a socket of this process open in a descendant too? One that was handed over by `child.send(message, server)` is. */
export function isOpenElsewhere(fd: number): boolean {
  if (listChildren().length === 0) return false
  const socket = readLink(`${process.pid}/fd/${fd}`)
  const isOpenIn = ({ pid }: Process) => numbersIn(`${pid}/fd`).some((its) => readLink(`${pid}/fd/${its}`) === socket)
  return socket !== undefined && listDescendants().some(isOpenIn)
}

/** Has any thread a child? */
export function hasChildren(): boolean {
  return numbersIn(`${process.pid}/task`).some((thread) => read(`${process.pid}/task/${thread}/children`)?.trim())
}

/** The first thread that Node has started: the process may have been a shell before. Undefined where that cannot be seen. */
export function firstThreadOfNode(): Process | undefined {
  const threads = numbersIn(`${process.pid}/task`).filter((thread) => thread !== process.pid)
  const started = threads.flatMap((thread) => readStat(thread, `${process.pid}/task/${thread}`) ?? [])
  return started.toSorted((one, other) => one.startTime - other.startTime || one.pid - other.pid)[0]
}

function readStat(pid: number, folder: string): Process | undefined {
  // The name, in brackets, may hold anything, brackets and spaces included.
  const fields = read(`${folder}/stat`)
    ?.replace(/^.*\) /s, '')
    .split(' ')
  if (fields === undefined) return undefined
  const [state = '', parent] = fields
  return { pid, parent: Number(parent), state, threads: Number(fields[17]), startTime: Number(fields[19]) }
}

function numbersIn(folder: string): number[] {
  if (!isOurs()) return []
  try {
    return process.getBuiltinModule('node:fs').readdirSync(`/proc/${folder}`).map(Number).filter(Boolean)
  } catch {
    return [] // hidden, or not permitted
  }
}

function read(file: string): string | undefined {
  if (!isOurs()) return undefined
  try {
    return process.getBuiltinModule('node:fs').readFileSync(`/proc/${file}`, 'utf8')
  } catch {
    return undefined // the process is gone; hidden, or not permitted
  }
}

/** In a PID namespace without a `/proc` of its own every pid there is another process's. */
function isOurs(): boolean {
  ours ??= readLink('self') === String(process.pid)
  return ours
}

let ours: boolean | undefined

function readLink(file: string): string | undefined {
  try {
    return process.getBuiltinModule('node:fs').readlinkSync(`/proc/${file}`)
  } catch {
    return undefined // another user's, or as above
  }
}
