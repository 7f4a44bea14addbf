import type { ServerResponse } from 'node:http'

/** When a client may try again: another instance is there. */
export const retryAfterSeconds = 1

/** What a socket gets that nobody answers any more. */
export const unavailable: string = [
  'HTTP/1.1 503 Service Unavailable',
  'Connection: close',
  `Retry-After: ${retryAfterSeconds}`,
  'Content-Length: 0',
  '\r\n',
].join('\r\n')

/**
 * Says `Connection: close` in an answer whose head is not sent, if it is the last one by then: Node closes behind it, and with
 * pipelining there may be others. By wrapping `writeHead`, which every answer passes: `shouldKeepAlive` alone does nothing where
 * the app sets a `Connection` header itself, as proxies do.
 */
export function sayClose(response: ServerResponse, isLast: () => boolean): void {
  if (response.headersSent) return
  const writeHead = response.writeHead.bind(response) as (...args: unknown[]) => ServerResponse
  response.writeHead = (...args: unknown[]): ServerResponse => {
    if (!isLast() || response.headersSent || Number(args[0]) < 200) return writeHead(...args)
    response.setHeader('Connection', 'close')
    closeWhenRead(response)
    return writeHead(...args.map(withoutConnection))
  }
}

/**
 * Node closes behind the last answer, and an answer may come before the end of its request. What the client still sends is then
 * read first: otherwise the answer would be lost in a reset. The drain sees to it that this ends.
 */
function closeWhenRead({ req, socket }: ServerResponse): void {
  if (socket === null || req.complete) return
  socket.destroySoon = () => {
    Reflect.deleteProperty(socket, 'destroySoon')
    if (req.complete) return socket.destroySoon()
    socket.end()
    req.once('end', () => socket.destroySoon())
  }
}

/** Needs `response._header`, the head as it was sent: `getHeader` does not see what `writeHead` was given as a list. */
export function isEventStream(response: ServerResponse): boolean {
  const { _header: head } = response as { _header?: string | null }
  return response.headersSent && /^content-type:\s*text\/event-stream/im.test(head ?? '')
}

/** The headers that `writeHead` takes: an object, a list of names and values in turn, or a list of pairs. */
function withoutConnection(headers: unknown): unknown {
  if (typeof headers !== 'object' || headers === null) return headers
  if (!Array.isArray(headers))
    return Object.fromEntries(Object.entries(headers).filter(([name]) => !isConnection(name)))
  if (Array.isArray(headers[0])) return headers.filter((pair: unknown[]) => !isConnection(pair[0]))
  return headers.filter((_, index) => !isConnection(headers[index - (index % 2)]))
}

function isConnection(name: unknown): boolean {
  return String(name).toLowerCase() === 'connection'
}
