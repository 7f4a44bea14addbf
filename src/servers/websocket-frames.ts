import type { Duplex } from 'node:stream'

const streams = new WeakMap<Duplex, Stream>()

/**
 * Watches what is written on a socket whose client asked for a WebSocket, so that a frame of our own never lands inside another
 * frame. A library that makes frames itself writes each one whole; a stream that is piped into the socket (a proxy's) writes
 * arbitrary chunks. So `write` stays wrapped only until the answer's head is complete, and again from a `pipe` on. An answer
 * other than 101 is not watched, because no frames follow it.
 */
export function watchFrames(socket: Duplex): void {
  if (streams.has(socket)) return
  const stream: Stream = { part: 'answer', bytes: 0, blank: 0, head: new Uint8Array(longestHead), left: 0 }
  streams.set(socket, stream)
  let write: (...args: unknown[]) => boolean
  let restore: (() => void) | undefined
  let piped = false
  const wrap = () => {
    const before = Object.getOwnPropertyDescriptor(socket, 'write')
    write = socket.write.bind(socket) as typeof write
    socket.write = watching
    restore = () => {
      if (socket.write !== watching) return // other code has wrapped it since
      if (before === undefined) Reflect.deleteProperty(socket, 'write')
      else Object.defineProperty(socket, 'write', before)
      restore = undefined
    }
  }
  const watching = (...args: unknown[]): boolean => {
    const bytes = stream.part === 'no frames' ? undefined : bytesOf(args[0], args[1])
    if (bytes === undefined) return write(...args)
    const end = advance(stream, bytes)
    if (stream.part === 'no frames') stream.waiting = undefined
    if (stream.part === 'no frames' || (!piped && isBetween(stream))) restore?.()
    const { waiting } = stream
    if (waiting === undefined || end === 0) return write(...args)
    stream.waiting = undefined
    write(bytes.subarray(0, end))
    write(waiting)
    return write(bytes.subarray(end), ...args.slice(1))
  }
  socket.once('pipe', () => {
    piped = true
    if (restore === undefined && stream.part !== 'no frames') wrap()
  })
  wrap()
}

/** Writes a whole frame between two others. Writes nothing where the socket carries no frames. */
export function writeFrame(socket: Duplex, frame: Buffer): void {
  const stream = streams.get(socket)
  if (stream === undefined || stream.part === 'no frames') return
  if (isBetween(stream)) socket.write(frame)
  else stream.waiting = frame
}

/** The position in what is written. No payload is kept, so the memory does not grow. */
interface Stream {
  /** The head of the answer to the upgrade, the frames after a 101, or bytes between which no frame may be written. */
  part: 'answer' | 'frames' | 'no frames'
  /** How many bytes of the current head are written: the answer's, or a frame's. */
  bytes: number
  /** How many bytes of a blank line the answer's head ends with so far. */
  blank: number
  /** The bytes of a frame's head that are written. */
  readonly head: Uint8Array
  /** How many bytes of a frame's payload are not written yet. */
  left: number
  /** A frame of our own that waits until the current one is complete. */
  waiting?: Buffer | undefined
}

const switching = Buffer.from('HTTP/1.1 101')
const blankLine = Buffer.from('\r\n\r\n')
const longestAnswer = 16_384
const longestHead = 14

/** Undefined for a chunk that `write` does not accept. */
function bytesOf(chunk: unknown, encoding: unknown): Uint8Array | undefined {
  if (typeof chunk === 'string')
    return Buffer.from(chunk, Buffer.isEncoding(encoding as string) ? (encoding as BufferEncoding) : 'utf8')
  if (!ArrayBuffer.isView(chunk)) return undefined
  return chunk instanceof Uint8Array ? chunk : new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
}

function isBetween({ part, bytes, left }: Stream): boolean {
  return part === 'frames' && bytes === 0 && left === 0
}

/** The offset at which the last frame (or the answer's head) that these bytes complete ends; 0 if they complete none. */
function advance(stream: Stream, bytes: Uint8Array): number {
  let end = 0
  let at = 0
  while (at < bytes.length && stream.part !== 'no frames') {
    if (stream.part === 'answer') {
      advanceInAnswer(stream, bytes[at++] ?? 0)
    } else if (stream.left > 0) {
      const taken = Math.min(stream.left, bytes.length - at)
      stream.left -= taken
      at += taken
    } else {
      stream.head[stream.bytes++] = bytes[at++] ?? 0
      if (stream.bytes < headLength(stream.head, stream.bytes)) continue
      stream.left = payloadLength(stream.head)
      stream.bytes = 0
    }
    if (isBetween(stream)) end = at
  }
  return end
}

function advanceInAnswer(stream: Stream, byte: number): void {
  const position = stream.bytes++
  stream.blank = byte === blankLine[stream.blank] ? stream.blank + 1 : byte === blankLine[0] ? 1 : 0
  if (stream.bytes > longestAnswer || (position < switching.length && byte !== switching[position])) {
    stream.part = 'no frames'
  }
  if (stream.part === 'no frames' || stream.blank < blankLine.length) return
  stream.part = 'frames'
  stream.bytes = 0
}

/** The length of the head that begins with these bytes. Its second byte says it. */
function headLength(head: Uint8Array, bytes: number): number {
  const second = head[1] ?? 0
  if (bytes < 2) return 2
  return 2 + extendedLength(second) + ((second & 0x80) === 0 ? 0 : 4)
}

function payloadLength(head: Uint8Array): number {
  const second = head[1] ?? 0
  const extended = extendedLength(second)
  if (extended === 0) return second & 0x7f
  return head.subarray(2, 2 + extended).reduce((length, byte) => length * 256 + byte, 0)
}

/** How many bytes after the second one hold the length of the payload. */
function extendedLength(second: number): number {
  const short = second & 0x7f
  return short === 127 ? 8 : short === 126 ? 2 : 0
}
