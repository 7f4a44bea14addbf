import type { ServerResponse } from 'node:http'

/**
 * Writes `Connection: close` into the head of an answer if that answer is the last one on its connection: Node then closes the socket
 * after it. This is decided when the first bytes of the answer are sent, because with pipelining other requests may arrive after its head
 * was made, while it waits for its body or behind earlier answers. The head is edited after Node has made it. So everything else in it,
 * and every error, is Node's own, in whatever form the app gives its headers.
 *
 * Needs `response._send`, which every head passes on its way out, and `_header`, the head. Where they are missing an app's own
 * `Connection` header stays, as proxies set it, and its client does not learn of the close. Needs `outputData`, where an answer waits
 * behind others, and `_headerSent`, which says that it does; where they are missing those answers do not say close. Needs `_last`; where
 * it is missing Node does not close the socket, but the client does. Needs `_storeHeader`, which makes the head, to call `onHead`; where
 * it is missing an event stream that begins is noticed late.
 */
export function addConnectionClose(
  response: ServerResponse,
  { isLast, onHead, onLast }: { isLast: () => boolean; onHead: () => void; onLast: () => void },
): void {
  const answer = response as ServerResponse & Answer
  const { _send: send, _header: head, _storeHeader: storeHeader } = answer
  const decide = () => {
    if (response.socket === null) response.once('socket', decide) // when its turn has come
    else if (response.statusCode >= 200 && isLast() && editHead(answer)) onLast()
  }
  if (answer._headerSent === true) {
    if (response.socket === null) decide()
    return
  }
  if (send === undefined || head === undefined) {
    if (!response.headersSent) response.shouldKeepAlive &&= !isLast()
    return
  }
  answer._send = (...args) => {
    answer._send = send
    decide()
    return send.apply(response, args)
  }
  if (storeHeader === undefined) return
  answer._storeHeader = (...args) => {
    storeHeader.apply(response, args)
    if (response.statusCode >= 200) onHead()
  }
}

interface Answer {
  _send?: (...args: unknown[]) => unknown
  _storeHeader?: (...args: unknown[]) => void
  _header?: string | null
  _headerSent?: boolean
  _last?: boolean
  readonly outputData?: { data: unknown }[]
}

/** Returns false where the head cannot be edited. */
function editHead(answer: ServerResponse & Answer): boolean {
  const { _header: head, _headerSent: waits, outputData } = answer
  if (typeof head !== 'string') return false
  const edited = withClose(head)
  if (waits === true) {
    // Node keeps the head alone, or in one string with the first part of the body.
    const [first] = outputData ?? []
    if (typeof first?.data !== 'string' || !first.data.startsWith(head)) return false
    first.data = edited + first.data.slice(head.length)
  }
  answer._header = edited
  answer._last = true
  answer.shouldKeepAlive = false
  closeWhenRead(answer)
  return true
}

/** The header `Keep-Alive`, set by Node or the app, goes too: it belongs to `Connection: keep-alive`. */
function withClose(head: string): string {
  const others = head.replaceAll(/^(connection|keep-alive):.*\r\n/gim, '')
  return `${others.slice(0, -2)}Connection: close\r\n\r\n`
}

/**
 * Node closes the socket after the last answer, and an answer may come before the end of its request. What the client still sends is
 * then read first: otherwise the answer would be lost in a reset. The drain limits this wait.
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
