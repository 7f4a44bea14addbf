import type { TestContext } from 'node:test'
import { type Run, start } from './run.ts'

export const httpAndHttps = [
  ['http', false],
  ['https', true],
] as const

export interface ServerOptions {
  readonly pid1?: boolean
  readonly nodeArgs?: readonly string[]
  /** Further ones are for `fixtures/servers/http.js`. */
  readonly [name: string]: unknown
}

/** Starts `fixtures/servers/http.js` and waits until it listens. */
export async function startServer(
  t: TestContext,
  { pid1 = false, nodeArgs = [], ...options }: ServerOptions = {},
): Promise<{ run: Run; port: number }> {
  const run = start(t, 'servers/http.js', { pid1, nodeArgs, args: [JSON.stringify(options)] })
  return { run, port: await run.port() }
}
