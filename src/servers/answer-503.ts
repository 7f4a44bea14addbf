import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** After this many seconds the client retries, and another instance answers. */
const retryAfterSeconds = 1

/** Sent on a socket whose request will not be answered. */
const whole503 = [
  'HTTP/1.1 503 Service Unavailable',
  'Connection: close',
  `Retry-After: ${retryAfterSeconds}`,
  'Content-Length: 0',
  '\r\n',
].join('\r\n')

const answered = new WeakSet<object>()

/** Answers a request that is not to be processed. The rest of its body is read first: otherwise the answer would be lost in a reset. */
export function answer503(request: IncomingMessage, response: ServerResponse): void {
  answered.add(response)
  writeHead(response).flushHeaders()
  request.resume().once('end', () => response.end())
}

/** Answers a request whose client has not sent the body yet (`Expect`). */
export function answer503BeforeBody(_request: IncomingMessage, response: ServerResponse): void {
  writeHead(response).end()
}

/** Answers an upgrade or a CONNECT. */
export function answer503ToUpgrade(_request: IncomingMessage, socket: Duplex): void {
  socket.on('error', () => {}) // the client has closed the connection
  socket.end(whole503, () => socket.destroy())
}

/**
 * Answers a request whose time is up, if its answer has not begun; else returns false. Writes to the socket instead of the response: the
 * app may still set headers, and that must not throw.
 */
export function answer503InsteadOfApp(socket: Socket, response: ServerResponse | undefined): boolean {
  if (response?.headersSent !== false || !socket.writable) return false
  socket.write(whole503)
  socket.destroySoon()
  return true
}

export function answer503OnStream(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 503, 'retry-after': String(retryAfterSeconds) }, { endStream: true })
}

/** Whether `answer503` has answered this response, which then only waits for the end of the request's body. */
export function isAnswered503(response: object): boolean {
  return answered.has(response)
}

function writeHead(response: ServerResponse): ServerResponse {
  return response.writeHead(503, { 'Retry-After': retryAfterSeconds, 'Content-Length': 0 })
}
