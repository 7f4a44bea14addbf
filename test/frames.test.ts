import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { followFrames, writeFrame } from '../src/servers/frames.ts'

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
  const socket = new PassThrough({ highWaterMark: 2 ** 20 })
  followFrames(socket)
  let pieces = 0
  if (behind === 0) writeFrame(socket, close)
  for (let at = 0; at < bytes.length; at += pieceSize) {
    socket.write(bytes.subarray(at, at + pieceSize))
    if (++pieces === behind) writeFrame(socket, close)
  }
  return readAll(socket)
}

/** On Node 26 one `read()` gives one piece only. */
function readAll(socket: PassThrough): Buffer {
  const pieces: Buffer[] = []
  for (let piece = socket.read(); piece !== null; piece = socket.read()) pieces.push(piece as Buffer)
  return Buffer.concat(pieces)
}

const small = [head, frame(0), frame(5), frame(125), frame(126), frame(130, true), frame(3, true)]

for (const pieceSize of [1, 2, 3, 7, 1000, 65_536, 100_000]) {
  void test(`a frame of our own stands between two others, which come in pieces of ${pieceSize} bytes`, () => {
    const frames = pieceSize < 1000 ? small : [...small, frame(70_000), frame(9)]
    const all = Buffer.concat(frames)
    const ends = frames.map((_, index) => Buffer.concat(frames.slice(0, index + 1)).length)
    for (let behind = 0; behind * pieceSize < all.length; behind++) {
      const written = write(all, pieceSize, behind)
      const at = written.indexOf(close)
      const due = [0, ...ends].find((end) => end >= behind * pieceSize) ?? -1
      // Of several frames that end in one piece, behind the last of them.
      assert.ok(at === 0 || ends.includes(at), `in the middle: at ${at}`)
      assert.ok(at >= due && at <= due + pieceSize, `at ${at}, due at ${due}`)
      const others = Buffer.concat([written.subarray(0, at), written.subarray(at + close.length)])
      assert.ok(others.equals(all), 'the frames came as they were written')
    }
  })
}

void test('a frame of our own stands behind a text that was written as a string', () => {
  const socket = new PassThrough()
  followFrames(socket)
  socket.write(Buffer.from([0x81, 6]))
  writeFrame(socket, close)
  socket.write('grüß', 'utf8')
  assert.equal(String(readAll(socket)), '\x81\x06grüßgoodbye'.replace('\x81', '�'))
})

void test('where nothing is followed, it is written at once', () => {
  const socket = new PassThrough()
  writeFrame(socket, close)
  assert.equal(String(readAll(socket)), 'goodbye')
})

void test('many small frames in one piece take no long time', () => {
  const socket = new PassThrough({ highWaterMark: 2 ** 20 })
  followFrames(socket)
  const piece = Buffer.concat(Array.from({ length: 10_000 }, () => frame(4)))
  const began = performance.now()
  for (let count = 0; count < 10; count++) socket.write(piece)
  const ms = performance.now() - began
  assert.ok(ms < 1000, `${ms} ms`)
})
