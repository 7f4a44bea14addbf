import type { Cluster } from 'node:cluster'

/** Whether this process is PID 1 of its container (or PID namespace). PID 1 has no default signal actions. */
export function isPid1(): boolean {
  return process.pid === 1
}

/**
 * Whether this is a worker thread. Only the main thread gets signals and may end the process. Needs the mark `disabled` that Node sets in
 * a worker thread on functions that would throw there. One of them is enough, because libraries wrap `process.chdir`; where none is
 * marked, a shutdown in a worker thread ends that thread, and its `shutdown()` never resolves. Loading `node:worker_threads` would take a
 * fifth of the import time, and a third of a megabyte.
 */
export function isWorker(): boolean {
  type Marked = { readonly disabled?: boolean } | undefined
  const { chdir, abort, setuid } = process as unknown as Readonly<Record<'chdir' | 'abort' | 'setuid', Marked>>
  return [chdir, abort, setuid].some((method) => method?.disabled === true)
}

/** Whether a cluster primary has forked this process. */
export function isClusterWorker(): boolean {
  // The module is loaded only if there is a channel to a parent, as in every cluster worker.
  return process.connected && cluster().isWorker
}

/** What a cluster worker tells its primary. Node emits a message with such a name as 'internalMessage', which no app listens to. */
export const drainedMessage = 'NODE_PID1_DRAINED'

/** The module `node:cluster`, which is slow to load. */
export function cluster(): Cluster {
  return process.getBuiltinModule('node:cluster') as unknown as Cluster
}
