import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { assertEnded } from './report.ts'
import { asRoot, type Lifetime, skipBecause, start } from './run.ts'

/** Two network namespaces with a latency between them. A process runs on a side if it is started `inside` that side. */
export interface Network {
  readonly serverSide: readonly string[]
  readonly clientSide: readonly string[]
  /** The server's address. */
  readonly address: string
  readonly clientAddress: string
}

export interface NetworkOptions {
  readonly roundTripMs: number
}

/** Gives the body of a test a network. The test is skipped with the reason where none can be made, which CI refuses. */
export function inNetwork<Rest extends readonly unknown[]>(
  { roundTripMs }: NetworkOptions,
  body: (t: TestContext, network: Network, ...rest: Rest) => Promise<void>,
): (t: TestContext, ...rest: Rest) => Promise<void> {
  return async (t, ...rest) => {
    const why = whyNoNetwork()
    if (why !== undefined) return skipBecause(t, why)
    const { network, end } = await startNetwork(t, roundTripMs)
    try {
      await body(t, network, ...rest)
    } finally {
      await end() // in any case: if the relay has failed, that is why the test has failed
    }
  }
}

interface Relay {
  readonly program: string
  readonly why: string | undefined
}

let made: Relay | undefined
const relay = (): Relay => (made ??= makeRelay())

/** Why no network can be made here; undefined where one can. */
export function whyNoNetwork(): string | undefined {
  return relay().why
}

/** Compiles the relay and tries it: with an empty stdin it ends as soon as it has made its network. */
function makeRelay(): Relay {
  const folder = mkdtempSync(join(tmpdir(), 'relay-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const program = join(folder, 'relay')
  const source = fileURLToPath(new URL('relay.c', import.meta.url))
  const commands = [
    ['gcc', '-O2', '-Wall', '-Wextra', '-Werror', source, '-o', program],
    [...asRoot, program, '0'],
  ]
  for (const [command = '', ...args] of commands) {
    const tried = spawnSync(command, args, { encoding: 'utf8' })
    if (tried.status !== 0) return { program, why: `no network: ${tried.error?.message ?? tried.stderr.trim()}` }
  }
  return { program, why: undefined }
}

/** `end` rejects if the kernel dropped a packet: then the network, not the server, has lost something. */
export async function startNetwork(
  t: Lifetime,
  roundTripMs: number,
): Promise<{ network: Network; end(): Promise<void> }> {
  const { program } = relay()
  const run = start(t, '', { command: [...asRoot, program, String(roundTripMs)] })
  const [, server, client] = await run.line(/ready (\d+) (\d+)/)
  const side = (namespace = '') => ['nsenter', ...userOf(run.pid), `--net=/proc/${run.pid}/fd/${namespace}`]
  const network = {
    serverSide: side(server),
    clientSide: side(client),
    address: '192.0.2.1',
    clientAddress: '192.0.2.2',
  }
  const end = async () => {
    const drops = [network.serverSide, network.clientSide].map(countDrops)
    run.stdin.end()
    assertEnded(await run.ended, 0)
    assert.deepEqual(drops, [0, 0], `the kernel dropped packets: ${drops.join(' and ')}`)
  }
  return { network, end }
}

/** Without root, `nsenter` also has to enter the user namespace that owns the network. */
function userOf(pid: number): readonly string[] {
  return process.getuid?.() === 0 ? [] : [`--user=/proc/${pid}/ns/user`, '--preserve-credentials']
}

/** The packets that the kernel dropped between itself and the relay, by its own count. */
function countDrops([command = '', ...args]: readonly string[]): number {
  const { stdout } = spawnSync(command, [...args, 'cat', '/proc/net/dev'], { encoding: 'utf8' })
  const fields = /relay0:\s*(.*)/.exec(stdout)?.[1]?.split(/\s+/)
  return Number(fields?.[3]) + Number(fields?.[11])
}
