import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { assertEnded } from './report.ts'
import { asRoot, skipBecause, start } from './run.ts'

/** Two network namespaces, and the latency between them. What is to run in one is started `inside` that side. */
export interface Network {
  readonly serverSide: readonly string[]
  readonly clientSide: readonly string[]
  /** The server's, as its clients see it. */
  readonly address: string
  readonly clientAddress: string
}

export interface NetworkOptions {
  readonly roundTripMs: number
}

/** The body of a test that has a network; skipped with the reason where none may be made, which CI refuses. */
export function inNetwork<Rest extends readonly unknown[]>(
  { roundTripMs }: NetworkOptions,
  body: (t: TestContext, network: Network, ...rest: Rest) => Promise<void>,
): (t: TestContext, ...rest: Rest) => Promise<void> {
  return async (t, ...rest) => {
    if (noNetwork !== undefined) return skipBecause(t, noNetwork)
    const { network, end } = await startNetwork(t, roundTripMs)
    try {
      await body(t, network, ...rest)
    } finally {
      await end() // in any case: a relay that failed is the reason for whatever failed in the test
    }
  }
}

const relay = join(mkdtempSync(join(tmpdir(), 'relay-')), 'relay')
process.on('exit', () => rmSync(join(relay, '..'), { recursive: true, force: true }))

const noNetwork = whyNoNetwork()

/** By trying: a relay that has nothing on stdin ends as soon as it has made its network. */
function whyNoNetwork(): string | undefined {
  const source = fileURLToPath(new URL('relay.c', import.meta.url))
  const commands = [
    ['gcc', '-O2', '-Wall', '-Wextra', '-Werror', source, '-o', relay],
    [...asRoot, relay, '0'],
  ]
  for (const [command = '', ...args] of commands) {
    const tried = spawnSync(command, args, { encoding: 'utf8' })
    if (tried.status !== 0) return `no network: ${tried.error?.message ?? tried.stderr.trim()}`
  }
  return undefined
}

async function startNetwork(t: TestContext, roundTripMs: number): Promise<{ network: Network; end(): Promise<void> }> {
  const run = start(t, '', { command: [...asRoot, relay, String(roundTripMs)] })
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

/** Whoever is not root is so in the user namespace that the network belongs to. */
function userOf(pid: number): readonly string[] {
  return process.getuid?.() === 0 ? [] : [`--user=/proc/${pid}/ns/user`, '--preserve-credentials']
}

/** What the kernel did not give to the relay, or not take from it, by its own count. */
function countDrops([command = '', ...args]: readonly string[]): number {
  const { stdout } = spawnSync(command, [...args, 'cat', '/proc/net/dev'], { encoding: 'utf8' })
  const fields = /relay0:\s*(.*)/.exec(stdout)?.[1]?.split(/\s+/)
  return Number(fields?.[3]) + Number(fields?.[11])
}
