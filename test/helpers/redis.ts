import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'

/** Starts a Redis that is there for one test. Returns the path of its Unix socket. */
export async function startRedis(t: TestContext): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'redis-'))
  const path = join(folder, 'redis.sock')
  const args = ['--port', '0', '--unixsocket', path, '--save', '', '--appendonly', 'no', '--dir', folder]
  const redis = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let failed: Error | undefined
  redis.on('error', (error) => (failed = error))
  t.after(() => {
    redis.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })
  let log = ''
  redis.stdout.on('data', (data) => (log += String(data)))
  for (let tries = 0; !log.includes('ready to accept'); tries++) {
    assert.ok(
      tries < 1000 && failed === undefined && redis.exitCode === null,
      `redis-server: ${failed?.message ?? log}`,
    )
    await wait(10)
  }
  return path
}
