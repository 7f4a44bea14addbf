import type { ServerResponse } from 'node:http'
import { warnOf } from '../log.ts'
import type { DrainOptions } from '../options.ts'

type AskedRequest = Parameters<NonNullable<DrainOptions['isEndless']>>[0]

/** What is known of an answer, by its response or stream: the app has said it, or its protocol. */
const known = new WeakMap<object, boolean>()

/** Asks the app once whether an answer is long-lived: when the drain begins, or when the request arrives during the drain. */
export function askApp(isEndless: DrainOptions['isEndless'], answer: object, request: AskedRequest): void {
  try {
    const said = isEndless?.(request)
    if (typeof said === 'boolean') known.set(answer, said)
  } catch (error) {
    warnOf('isEndless failed', error)
  }
}

/** The answer is long-lived, whatever its head says. */
export function markAsLongLived(answer: object): void {
  known.set(answer, true)
}

/**
 * Whether an answer has no end of its own. The app decides, by `isEndless`; otherwise an event stream that answers a GET is long-lived.
 * `EventSource` can only GET, and a stream that answers a POST (a chat completion, a tool's result) is a request like any other.
 */
export function isLongLivedAnswer(answer: object, method: string, head: string): boolean {
  return known.get(answer) ?? (method === 'GET' && /^content-type:\s*text\/event-stream/im.test(head))
}

/**
 * The same for a response of HTTP/1.
 *
 * Needs `response._header`, the head as it was sent: `getHeader` does not see what `writeHead` was given as a list. Where it is
 * missing an event stream is cut like an ordinary request.
 */
export function isLongLived(response: ServerResponse): boolean {
  const { _header: head } = response as { _header?: string | null }
  return isLongLivedAnswer(response, response.req.method ?? '', head ?? '')
}
