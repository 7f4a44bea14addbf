import assert from 'node:assert/strict'
import { createServer, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startClients } from '../helpers/load.ts'
import { assertEnded } from '../helpers/report.ts'
import { asChildAndPid1, type Run, start } from '../helpers/run.ts'

// Libraries that listen to SIGTERM. With `otherListeners: 'atOnce'` most lose what the test is about: that is the control. The others
// close a server, which waits for the drain in any case.

const folder = fileURLToPath(new URL('.', import.meta.url))
const atOnce = { otherListeners: 'atOnce' }

asChildAndPid1('Apollo Server, with its defaults, loses no request of 200 busy clients', async (t, pid1) => {
  const run = startApp(t, pid1, 'apollo.js')
  const { counted } = await startClients(t, await run.port(), { clients: 200, thinkMs: 5, path: '/?query=%7Bhello%7D' })
  run.signal('SIGTERM')
  const ended = await run.ended
  const { lost, statuses, answered } = await counted
  assert.deepEqual({ lost, statuses }, { lost: 0, statuses: { 200: answered } })
  assertEnded(ended, 0)
  assert.match(ended.stdout, /hook\napollo stops\n$/)
})

asChildAndPid1('Apollo Server at once loses requests: the control', async (t, pid1) => {
  const run = startApp(t, pid1, 'apollo.js', atOnce)
  const { counted } = await startClients(t, await run.port(), { clients: 200, thinkMs: 5, path: '/?query=%7Bhello%7D' })
  run.signal('SIGTERM')
  await run.ended
  const { lost, statuses, answered } = await counted
  assert.ok(lost > 0 || statuses['200'] !== answered, `lost ${lost}, statuses ${JSON.stringify(statuses)}`)
})

for (const [how, options, arrives] of [
  ['arrive', {}, true],
  ['at once are lost: the control', atOnce, false],
] as const) {
  asChildAndPid1(`OpenTelemetry: the spans of a request that ends during the drain ${how}`, async (t, pid1) => {
    const collector = await startCollector(t)
    const register = '@opentelemetry/auto-instrumentations-node/register'
    const run = startApp(t, pid1, 'telemetry.cjs', options, ['--require', register], {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_TRACES_EXPORTER: 'otlp',
      OTEL_METRICS_EXPORTER: 'none',
      OTEL_LOGS_EXPORTER: 'none',
      OTEL_BSP_SCHEDULE_DELAY: '30000',
      OTEL_NODE_RESOURCE_DETECTORS: 'none',
    })
    const port = await run.port()
    const answer = ask(port, '/in-flight')
    await run.line(/^got$/m)
    run.signal('SIGTERM')
    assert.deepEqual(await answer, { status: 200, body: 'answered' })
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.equal(collector.received().includes('/in-flight'), arrives, collector.received())
  })
}

asChildAndPid1(
  'Puppeteer: a request that needs the browser is answered, and then the browser is closed',
  async (t, pid1) => {
    const run = startApp(t, pid1, 'browser.js')
    const answer = ask(await run.port(), '/')
    await run.line(/^got$/m)
    run.signal('SIGTERM')
    assert.deepEqual(await answer, { status: 200, body: 'StandIn/1' })
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.match(ended.stdout, /hook, connected: true\n/)
  },
)

asChildAndPid1('Puppeteer at once closes the browser under the request: the control', async (t, pid1) => {
  const run = startApp(t, pid1, 'browser.js', atOnce)
  const answer = ask(await run.port(), '/')
  await run.line(/^got$/m)
  run.signal('SIGTERM')
  assert.equal((await answer).status, 500)
  await run.ended
})

asChildAndPid1('fastify start: a slow request is answered', async (t, pid1) => {
  const cli = join(folder, 'node_modules', 'fastify-cli', 'cli.js')
  const args = [
    'start',
    '--port',
    '0',
    '--address',
    '127.0.0.1',
    '--log-level',
    'error',
    join(folder, 'apps/fastify-app.js'),
  ]
  const run = start(t, '', { pid1, command: [process.execPath, cli, ...args], cwd: folder })
  const answer = ask(await run.port(), '/')
  await run.line(/^got$/m)
  run.signal('SIGTERM')
  assert.deepEqual(await answer, { status: 200, body: 'answered' })
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.equal(ended.stdout.match(/app closed/g)?.length, 1)
})

asChildAndPid1('srvx: a request that takes longer than its own timeout is answered', async (t, pid1) => {
  const run = startApp(t, pid1, 'srvx.js')
  const answer = ask(await run.port(), '/')
  await run.line(/^got$/m)
  run.signal('SIGTERM')
  assert.deepEqual(await answer, { status: 200, body: 'answered' })
  const ended = await run.ended
  assertEnded(ended, 0)
  assert.match(ended.stdout, /hook/)
})

function startApp(
  t: TestContext,
  pid1: boolean,
  name: string,
  options: object = {},
  nodeArgs: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Run {
  const command = [process.execPath, ...nodeArgs, join(folder, 'apps', name), JSON.stringify(options)]
  return start(t, '', { pid1, command, env, cwd: folder })
}

function ask(port: number, path: string): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    get({ port, host: '127.0.0.1', path, agent: false }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode, body }), reject)
    }).on('error', reject)
  })
}

/** Takes what OpenTelemetry sends. */
async function startCollector(t: TestContext): Promise<{ port: number; received: () => string }> {
  let received = ''
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      received += body
      response.writeHead(200, { 'Content-Type': 'application/json' }).end('{}')
    })
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  return { port: (server.address() as AddressInfo).port, received: () => received }
}
