import { debug } from '../../log.ts'
import type { Native } from '../../native.ts'

/**
 * Stops new connections in the kernel, where the kernel can do that. Connections that are made, or half made, still arrive. This cannot be
 * undone, so it must not be used on a socket that other processes accept from as well.
 */
export function refuseNewConnections(part: Native, fd: number): 'refuses' | 'drops' | 'no' {
  const [length, limit] = [part.queueLength(fd), part.queueLimit(fd)]
  // Without a limit the kernel would not show when all have arrived: this is a sandbox that only looks like Linux, or an emulator.
  if (limit <= 0) return 'no'
  // Beyond its limits the kernel keeps no record of a half-made connection (SYN cookies). Then dropping by a filter is better, because it
  // lets the last segment of such a handshake through. Otherwise refusing is better: the client gets an error at once.
  const isCrowded = length > 0 && (length >= limit || part.handshakes(fd) >= limit / 2)
  const drops = isCrowded && part.dropNew(fd) === 0
  const refuses = !drops && part.refuseNew(fd) === 0
  if (!drops && !refuses && part.dropNew(fd) !== 0) {
    debug('servers', 'the kernel does not stop new connections')
    return 'no'
  }
  part.enlargeQueue(fd)
  return refuses ? 'refuses' : 'drops'
}
