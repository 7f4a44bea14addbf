import type { Duplex } from 'node:stream'

/**
 * Where another stream is piped into an upgraded socket (a proxy's), what is written are pieces, not frames: a frame of our own
 * must wait for the end of the one that is on its way. Libraries that make their frames themselves write each in one go.
 */
export function followFrames(socket: Duplex): void {
  const stream: Frames = { head: empty, left: 0 }
  let waiting: Buffer | undefined
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean
  socket.write = (...args: unknown[]): boolean => {
    const [chunk] = args
    const bytes =
      typeof chunk === 'string' ? Buffer.from(chunk, args[1] as BufferEncoding) : viewOf(chunk as Uint8Array)
    const end = lastEnd(stream, bytes)
    if (waiting === undefined || end === 0) return write(...args)
    write(bytes.subarray(0, end))
    write(waiting)
    waiting = undefined
    return write(bytes.subarray(end), ...args.slice(1))
  }
  followed.set(socket, (frame) => {
    if (stream.left === 0 && stream.head.length === 0) write(frame)
    else waiting = frame
  })
}

/** Writes a whole frame, between two others. */
export function writeFrame(socket: Duplex, frame: Buffer): void {
  const writeBetween = followed.get(socket)
  if (writeBetween === undefined) socket.write(frame)
  else writeBetween(frame)
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}

/** How far the frames have come. */
interface Frames {
  /** What there is of a head that is not complete. */
  head: Buffer
  /** Bytes of payload that are still to come. */
  left: number
}

const empty = Buffer.alloc(0)
const followed = new WeakMap<Duplex, (frame: Buffer) => void>()

/** Where in these bytes the last frame ends that they complete; 0 if they complete none. */
function lastEnd(frames: Frames, bytes: Buffer): number {
  let end = 0
  let at = 0
  while (at < bytes.length) {
    if (frames.left > 0) {
      const taken = Math.min(frames.left, bytes.length - at)
      frames.left -= taken
      at += taken
    } else {
      const before = frames.head.length
      const head = before === 0 ? bytes.subarray(at) : Buffer.concat([frames.head, bytes.subarray(at)])
      const sizes = sizesIn(head)
      if (sizes === undefined) {
        frames.head = Buffer.from(head)
        return end
      }
      frames.head = empty
      frames.left = sizes.payload
      at += sizes.head - before
    }
    if (frames.left === 0) end = at
  }
  return end
}

/** Undefined until the head is complete: that of a frame, or the answer to the upgrade, which may come the same way. */
function sizesIn(bytes: Buffer): { head: number; payload: number } | undefined {
  if (bytes[0] === 0x48) {
    const end = bytes.indexOf('\r\n\r\n')
    return end === -1 ? undefined : { head: end + 4, payload: 0 }
  }
  const [, second = 0] = bytes
  const short = second & 0x7f
  const extended = short === 127 ? 8 : short === 126 ? 2 : 0
  const head = 2 + extended + ((second & 0x80) === 0 ? 0 : 4)
  if (bytes.length < head) return undefined
  if (extended === 0) return { head, payload: short }
  return { head, payload: extended === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2)) }
}
