import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { asRoot, spawnOurs } from './processes.js'

/**
 * Two network namespaces with a latency between them, as the tests have them. Returns the wrappers that start something on
 * either side, and the server's address; or why there are none.
 */
export async function startNetwork(roundTripMs) {
  if (process.getuid?.() !== 0) return { why: 'only root joins two network namespaces here' }
  const folder = mkdtempSync(join(tmpdir(), 'relay-'))
  const relay = join(folder, 'relay')
  const source = fileURLToPath(new URL('../../test/helpers/relay.c', import.meta.url))
  const { status, error, stderr } = spawnSync('gcc', ['-O2', source, '-o', relay], { encoding: 'utf8' })
  if (status !== 0) return { why: `the relay does not compile: ${error?.message ?? stderr}` }
  const child = spawnOurs([...asRoot, relay, String(roundTripMs)], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ready = await new Promise((resolve) => {
    child.stdout.once('data', (data) => resolve(/ready (\d+) (\d+)/.exec(String(data))))
    child.once('exit', () => resolve(null))
  })
  rmSync(folder, { recursive: true })
  if (ready === null) return { why: 'no network namespace can be made' }
  const side = (namespace) => ['nsenter', `--net=/proc/${child.pid}/fd/${namespace}`]
  return { serverSide: side(ready[1]), clientSide: side(ready[2]), address: '192.0.2.1', stop: () => child.stdin.end() }
}
