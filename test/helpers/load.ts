import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { type Lifetime, type RunOptions, start } from './run.ts'

/** The options of `clients.js`, apart from the port. With `streams`, the number on each connection, `http2-clients.js` runs. */
export interface Load {
  readonly streams?: number
  readonly tls?: boolean
  readonly mode?: 'keep-alive' | 'new'
  readonly clients?: number
  readonly rushing?: number
  readonly thinkMs?: number
  readonly rate?: number
  readonly path?: string
  readonly method?: 'GET' | 'POST'
  readonly host?: string
  readonly stopAfterMs?: number
  readonly maxMs?: number
}

/** The counts of `clients.js`. */
export interface Counted {
  readonly sent: number
  readonly answered: number
  readonly lost: number
  readonly lostOnNew: number
  readonly refused: number
  readonly fastestDialMs: number
  readonly statuses: Readonly<Record<string, number>>
  readonly detail: Readonly<Record<string, number>>
}

export interface Clients {
  readonly counted: Promise<Counted>
  /** Lets each client finish its request and exit, if the server does not refuse it before. */
  stop(): void
}

/** Starts clients in a process of their own, and waits until each has had an answer. */
export async function startClients(
  t: Lifetime,
  port: number,
  load: Load,
  options: Pick<RunOptions, 'inside'> = {},
): Promise<Clients> {
  const name = load.streams === undefined ? 'clients.js' : 'http2-clients.js'
  const file = fileURLToPath(new URL(name, import.meta.url))
  const command = [process.execPath, file, JSON.stringify({ ...load, port })]
  const run = start(t, '', { command, ...options })
  await run.line(/ready/)
  return {
    counted: run.ended.then(({ stdout, stderr }) => parse(stdout, stderr)),
    stop: () => void run.stdin.write('stop\n'),
  }
}

function parse(stdout: string, stderr: string): Counted {
  const json = stdout.split('\n').find((line) => line.startsWith('{'))
  assert.ok(json !== undefined, `The clients counted nothing:\n${stdout}\n${stderr}`)
  const counted = JSON.parse(json) as Counted
  assert.equal(counted.sent, counted.answered + counted.lost)
  return counted
}
