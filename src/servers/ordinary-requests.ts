import type { ServerResponse } from 'node:http'
import { pathOf, safeName } from '../log.ts'
import { isAnswered503 } from './answer-503.ts'
import type { Connection } from './connection.ts'
import { nameOfStream, ordinaryStreams } from './http2-streams.ts'
import { isLongLived } from './long-lived.ts'

/** What stderr says of a request that had to be cut. */
export interface Request {
  readonly method?: string | undefined
  readonly url?: string | undefined
}

/** Requests whose head is complete and whose answer has an end. A download and a long poll are among them. */
export function ordinaryRequests({ responses, lastPipelined, session, wasCut }: Connection): Request[] {
  if (wasCut) return []
  if (session !== undefined) return ordinaryStreams(session).map(nameOfStream)
  const requests = responses.filter(isOrdinary).map(({ req }) => req)
  return lastPipelined === undefined ? requests : [...requests, lastPipelined]
}

export function hasOrdinaryRequests({ responses, lastPipelined, session, wasCut }: Connection): boolean {
  if (wasCut) return false
  if (session !== undefined) return ordinaryStreams(session).length > 0
  return lastPipelined !== undefined || responses.some(isOrdinary)
}

export function nameOfRequest({ method = '', url = '' }: Request): string {
  return `${safeName(method)} ${pathOf(url)}`
}

function isOrdinary(response: ServerResponse): boolean {
  return !isLongLived(response) && !isAnswered503(response)
}
