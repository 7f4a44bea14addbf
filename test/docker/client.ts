import { once } from 'node:events'
import { Agent, get, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'

export interface Requested {
  /** Resolves when the request is on its way. */
  readonly sent: Promise<unknown>
  readonly answered: Promise<{ readonly status: number | undefined; readonly body: string }>
}

/** A GET, on a connection of its own unless an agent is given. */
export function request(port: number, path: string, agent: Agent = new Agent()): Requested {
  const outgoing = get({ port, path, agent })
  return { sent: once(outgoing, 'finish'), answered: once(outgoing, 'response').then(([response]) => read(response)) }
}

async function read(response: IncomingMessage): Promise<Awaited<Requested['answered']>> {
  return { status: response.statusCode, body: await text(response) }
}
