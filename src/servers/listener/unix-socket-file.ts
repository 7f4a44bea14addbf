import type { Server } from 'node:net'
import { debug } from '../../log.ts'

/** Device and inode of the files of Unix sockets that servers listen on. */
const socketFiles = new WeakMap<Server, string>()

/** Remembers the file of a Unix socket that listens, to tell it from one of the same name that is made later. */
export function rememberSocketFile(server: Server): void {
  const path = server.listening ? server.address() : null
  if (typeof path !== 'string') return
  const file = fileAt(path)
  if (file !== undefined) socketFiles.set(server, file)
}

/**
 * Closes a server and keeps the file at its path if another process has bound the path since. libuv unlinks the path in any case, so the
 * file gets a second name until then. Where that is not possible (no permission, or the file is another user's), it is unlinked.
 */
export function closeKeepingSuccessor(server: Server, closeNow: () => void): void {
  const path = server.address()
  const ours = socketFiles.get(server)
  const current = typeof path === 'string' && ours !== undefined ? fileAt(path) : undefined
  if (typeof path !== 'string' || current === undefined || current === ours) return closeNow()
  const { linkSync, renameSync } = process.getBuiltinModule('node:fs')
  const secondName = `${path}.${ours}`
  try {
    linkSync(path, secondName)
  } catch (error) {
    debug('servers', 'the socket %s belongs to another process now, and cannot be kept: %o', path, error)
    return closeNow()
  }
  closeNow()
  try {
    renameSync(secondName, path)
  } catch (error) {
    debug('servers', '%s is left, because it cannot be renamed to %s: %o', secondName, path, error)
  }
}

/**
 * Device and inode. While the server listens, no other file can have the same ones. Undefined where there is no file, as with an abstract
 * socket.
 */
function fileAt(path: string): string | undefined {
  try {
    const { dev, ino } = process.getBuiltinModule('node:fs').statSync(path, { bigint: true })
    return `${dev}-${ino}`
  } catch {
    return undefined // removed, not permitted, or not a path
  }
}
