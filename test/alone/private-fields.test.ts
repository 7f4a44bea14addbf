import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test, type TestContext } from 'node:test'
import { startClients } from '../helpers/load.ts'
import { start } from '../helpers/run.ts'
import { fixturesWithout } from '../helpers/without.ts'

// As in ../private-fields.test.ts, for a primary: without the field its sockets stay open until its workers have ended.

const what = "server._handle of a cluster's server"
const code = 'server._handle === null'
const instead = 'server._gone === null'
const fixture = 'servers/cluster.js'

let folder: string
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'private-'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

test(`a primary with ${what} loses nothing`, async (t) => {
  assert.equal(await lostOnNewConnections(t, code), 0)
})

test(`a primary without ${what} loses new connections, and no more`, async (t) => {
  // One stop in twelve is lucky: nobody dials while the primary ends its sockets.
  for (let stops = 0; stops < 5; stops++) if ((await lostOnNewConnections(t, instead)) > 0) return
  assert.fail('None of five stops lost a request')
})

/** Stops the cluster under load, with `replacement` in the place of `code`. */
async function lostOnNewConnections(t: TestContext, replacement: string): Promise<number> {
  const fixtures = fixturesWithout(folder, { file: 'cluster', code, instead: replacement })
  const run = start(t, fixture, { command: [process.execPath, join(fixtures, fixture), '{}'] })
  const { counted } = await startClients(t, await run.port(), { clients: 200, thinkMs: 5 })
  run.signal('SIGTERM')
  const ended = await run.ended
  const { answered, lost, lostOnNew, statuses } = await counted
  assert.deepEqual({ lost, statuses }, { lost: lostOnNew, statuses: { 200: answered } })
  assert.equal(ended.code, 0, ended.stderr)
  assert.equal(ended.stderr, '')
  return lost
}
