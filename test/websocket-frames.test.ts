import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { watchFrames, writeFrame } from '../src/servers/websocket-frames.ts'
import { assertTook } from './helpers/time.ts'

const close = Buffer.from('goodbye')
const head = Buffer.from('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n')

/** A frame without a mask, as a server sends it, and one with a mask of zeros. */
function frame(length: number, isMasked = false): Buffer {
  const mask = isMasked ? 0x80 : 0
  const size = Buffer.alloc(length < 126 ? 1 : length < 65_536 ? 3 : 9)
  size[0] = mask | (length < 126 ? length : length < 65_536 ? 126 : 127)
  if (size.length === 3) size.writeUInt16BE(length, 1)
  if (size.length === 9) size.writeBigUInt64BE(BigInt(length), 1)
  return Buffer.concat([Buffer.from([0x82]), size, Buffer.alloc(isMasked ? 4 : 0), Buffer.alloc(length, 'a')])
}

/** All that was written, in pieces of so many bytes; the frame of our own is asked for behind so many pieces. */
function write(bytes: Buffer, pieceSize: number, behind: number): Buffer {
  const socket = pipedInto()
  let pieces = 0
  if (behind === 0) writeFrame(socket, close)
  for (let at = 0; at < bytes.length; at += pieceSize) {
    socket.write(bytes.subarray(at, at + pieceSize))
    if (++pieces === behind) writeFrame(socket, close)
  }
  return readAll(socket)
}

/** A socket that asked for a WebSocket, and that something is piped into. */
function pipedInto(): PassThrough {
  const socket = new PassThrough({ highWaterMark: 2 ** 20 })
  watchFrames(socket)
  new PassThrough().pipe(socket)
  return socket
}

/** On Node 26 one `read()` gives one piece only. */
function readAll(socket: PassThrough): Buffer {
  const pieces: Buffer[] = []
  for (let piece = socket.read(); piece !== null; piece = socket.read()) pieces.push(piece as Buffer)
  return Buffer.concat(pieces)
}

const small = [head, frame(0), frame(5), frame(125), frame(126), frame(130, true), frame(3, true)]

for (const pieceSize of [1, 2, 3, 7, 1000, 65_536, 100_000]) {
  void test(`a frame of ours is written between two others, which are written in pieces of ${pieceSize} bytes`, () => {
    const frames = pieceSize < 1000 ? small : [...small, frame(70_000), frame(9)]
    const all = Buffer.concat(frames)
    const ends = frames.map((_, index) => Buffer.concat(frames.slice(0, index + 1)).length)
    for (let behind = 0; behind * pieceSize < all.length; behind++) {
      const written = write(all, pieceSize, behind)
      const at = written.indexOf(close)
      const due = ends.find((end) => end >= behind * pieceSize) ?? -1
      // Of several frames that end in one piece, behind the last of them.
      assert.ok(ends.includes(at), `in the middle: at ${at}`)
      assert.ok(at >= due && at <= due + pieceSize, `at ${at}, due at ${due}`)
      const others = Buffer.concat([written.subarray(0, at), written.subarray(at + close.length)])
      assert.ok(others.equals(all), 'the frames came as they were written')
    }
  })
}

void test('a frame of our own stands behind a text that was written as a string, whatever its form', () => {
  for (const rest of [['utf8'], [() => {}], ['utf8', () => {}], ['UTF-8'], []] as never[][]) {
    const socket = pipedInto()
    socket.write(head.toString(), 'latin1')
    socket.write(new DataView(Uint8Array.from([0, 0x81, 6, 0]).buffer, 1, 2))
    writeFrame(socket, close)
    ;(socket.write as (...args: unknown[]) => boolean)('grüß', ...rest)
    assert.equal(readAll(socket).toString('latin1').slice(head.length), '\x81\x06grÃ¼Ã\x9fgoodbye')
  }
})

void test('a frame of our own is written at once between the frames of a library', () => {
  const socket = new PassThrough()
  watchFrames(socket)
  socket.write(head)
  assert.equal(Object.hasOwn(socket, 'write'), false)
  socket.write(frame(5))
  writeFrame(socket, close)
  assert.deepEqual(readAll(socket), Buffer.concat([head, frame(5), close]))
})

void test('what is piped in behind the answer is followed', () => {
  const socket = new PassThrough()
  watchFrames(socket)
  socket.write(head)
  new PassThrough().pipe(socket)
  socket.write(frame(5).subarray(0, 3))
  writeFrame(socket, close)
  socket.write(frame(5).subarray(3))
  assert.deepEqual(readAll(socket), Buffer.concat([head, frame(5), close]))
})

for (const [name, answer] of [
  ['plain', 'HTTP/1.1 200 OK\r\n\r\n'],
  ['that another program gives', 'HELLO'],
  ['whose head is too long', `HTTP/1.1 101 Switching Protocols\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`],
] as const) {
  void test(`an answer ${name} is not followed, and gets no frame of our own`, () => {
    const socket = pipedInto()
    for (const byte of Buffer.from(answer)) socket.write(Buffer.of(byte))
    assert.equal(Object.hasOwn(socket, 'write'), false)
    writeFrame(socket, close)
    socket.write('body')
    assert.equal(String(readAll(socket)), `${answer}body`)
  })
}

void test('a socket that is not followed gets no frame of our own', () => {
  const socket = new PassThrough()
  writeFrame(socket, close)
  assert.equal(socket.read(), null)
})

void test('what `write` refuses it still refuses', () => {
  const socket = pipedInto()
  for (const chunk of [undefined, null, 5, {}]) {
    assert.throws(() => socket.write(chunk), { code: /ERR_(INVALID_ARG_TYPE|STREAM_NULL_VALUES)/ })
  }
})

// Each began to look like the answer to an upgrade, and from then on every piece was copied behind the ones before.
for (const [name, first] of [
  ['a plain answer', 'HTTP/1.1 200 OK\r\n\r\n'],
  ['an answer without an end', 'HTTP/1.1 101 Switching Protocols\r\n'],
  ['frames', String(head)],
  ['many small frames', String(head)],
] as const) {
  void test(`parsing ${name} of 60 MB takes little time, and no memory`, () => {
    const socket = pipedInto()
    socket.resume()
    socket.write(first)
    const piece =
      name === 'many small frames' ? Buffer.concat(Array<Buffer>(10_000).fill(frame(4))) : Buffer.alloc(60_000, 'H')
    const before = process.memoryUsage()
    const began = performance.now()
    for (let bytes = 0; bytes < 60e6; bytes += piece.length) socket.write(piece)
    const ms = performance.now() - began
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    assertTook(ms, { under: 3000 })
    assert.ok(arrayBuffers - before.arrayBuffers < 5e6, `${arrayBuffers - before.arrayBuffers} bytes`)
    assert.ok(heapUsed - before.heapUsed < 30e6, `${heapUsed - before.heapUsed} bytes`)
  })
}
