import { deepEqual, ok, equal, match, doesNotMatch, notEqual } from 'node:assert/strict'
import { once } from 'node:events'
import { copyFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { Agent, get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { startClients } from '../helpers/load.ts'
import { assertTook } from '../helpers/time.ts'
import { request } from './client.ts'
import { buildImage, removeImages, startContainer, type Stopped, whatIsMissing } from './engine.ts'
import { type Registry, startRegistry } from './registry.ts'

const missing = await whatIsMissing()
if (missing !== undefined) {
  console.error(missing)
  process.exit(1)
}

const popcorn = fileURLToPath(new URL('../../examples/popcorn/', import.meta.url))
const services = [
  'http',
  'express',
  'express-4',
  'koa',
  'hono',
  'fastify',
  'nest',
  'typescript',
  'websockets',
  'compose',
]
const ready = /listening \d+/
const aDate = /:\d\d:\d\d /
const images: Record<string, string> = {}
let registry: Registry | undefined
let withInit = ''

before(async () => {
  registry = await startRegistry()
  for (const example of services) {
    const context = await registry.makeContext(example)
    images[example] = await buildImage(example, { context, args: registry.buildArgs })
    if (example !== 'http') continue
    takePid1Out(join(context, 'server.js'))
    images['without'] = await buildImage('without', { context, args: registry.buildArgs })
    writeFileSync(join(context, 'shell.Dockerfile'), `FROM ${images['http']}\nENTRYPOINT node server.js\n`)
    images['shell'] = await buildImage('shell', { context, dockerfile: 'shell.Dockerfile' })
  }
  images['popcorn'] = await buildImage('popcorn', { context: popcorn })
  for (const form of ['trap', 'wrapper', 'exec']) {
    images[form] = await buildImage(form, { context: popcorn, dockerfile: `${form}.Dockerfile` })
  }
  const unchanged = await registry.makeContext('unchanged')
  images['unchanged'] = await buildImage('unchanged', { context: unchanged, args: registry.buildArgs })
  withInit = mkdtempSync(join(tmpdir(), 'popcorn-'))
  cpSync(popcorn, withInit, { recursive: true })
  const init = new URL(`../../dist/native/init-linux-${process.arch}`, import.meta.url)
  copyFileSync(init, join(withInit, 'init'))
  images['run'] = await buildImage('run', { context: withInit, dockerfile: 'run.Dockerfile' })
})

after(async () => {
  registry?.close()
  rmSync(withInit, { recursive: true, force: true })
  await removeImages()
})

describe('the problem', { concurrency: true }, () => {
  test('without pid1 the app gets SIGTERM, ignores it, and is killed after ten seconds', async (t) => {
    const container = await startContainer(t, image('without'), ready)
    await hello(container.port)
    assertKilled(await container.stop())
  })

  test('a shell-form ENTRYPOINT keeps SIGTERM from the app, which is killed after ten seconds', async (t) => {
    const container = await startContainer(t, image('shell'), ready)
    await hello(container.port)
    assertKilled(await container.stop())
  })

  test('popcorn as it is ignores SIGTERM and is killed after ten seconds', async (t) => {
    const container = await startContainer(t, image('popcorn'), aDate)
    assertKilled(await container.stop())
  })

  test('popcorn with a trap, started by another script, gets no signal and is killed after ten seconds', async (t) => {
    const container = await startContainer(t, image('wrapper'), aDate)
    assertKilled(await container.stop())
  })
})

test('without pid1 under --init the app dies at once, without cleaning up', async (t) => {
  const container = await startContainer(t, image('without'), ready, ['--init'])
  await hello(container.port)
  const stopped = await container.stop()
  equal(stopped.code, 143)
  doesNotMatch(stopped.logs, /database/)
  assertTook(stopped.ms, { under: 1000 })
})

for (const form of ['popcorn', 'wrapper']) {
  test(`popcorn under --init dies at once, even with a trap that never runs (${form})`, async (t) => {
    const container = await startContainer(t, image(form), aDate, ['--init'])
    const stopped = await container.stop()
    equal(stopped.code, 143)
    doesNotMatch(stopped.logs, /cleaned up/)
    assertTook(stopped.ms, { under: 1000 })
  })
}

for (const [form, ...options] of [['trap'], ['exec'], ['trap', '--init']] as const) {
  test(`popcorn with a trap cleans up when its second is over (${[form, ...options].join(' ')})`, async (t) => {
    const container = await startContainer(t, image(form), aDate, options)
    const stopped = await container.stop()
    equal(stopped.code, 0)
    match(stopped.logs, /cleaned up\n$/)
    assertTook(stopped.ms, { under: 3000 })
  })
}

// dash prints "Terminated" where the program in its foreground was told to end.
for (const [script, said, code, ms] of [
  [['sh', 'popcorn.sh'], /\d\n$/, 143, 1000],
  [['sh', 'popcorn-with-trap.sh'], /cleaned up\n(Terminated\n)?$/, 0, 3000],
  [['sh', 'start.sh', 'sh', 'popcorn-with-trap.sh'], /cleaned up\n(Terminated\n)?$/, 0, 3000],
  [['sh', 'popcorn-with-sleep.sh'], /goodbye\n(Terminated\n)?$/, 0, 9500],
] as const) {
  for (const options of [[], ['--init']]) {
    test(`popcorn under pid1 run: ${[...script, ...options].join(' ')}`, async (t) => {
      const container = await startContainer(t, image('run'), aDate, options, script)
      const stopped = await container.stop()
      equal(stopped.code, code)
      match(stopped.logs, said)
      doesNotMatch(stopped.logs, /killed/)
      assertTook(stopped.ms, { under: ms })
    })
  }
}

test('an app that knows nothing of pid1, behind npm start: one ENV line, and a request in flight is answered', async (t) => {
  const container = await startContainer(t, image('unchanged'), ready)
  const slow = request(container.port, '/slow')
  await slow.sent
  const stopped = await container.stop()
  const { status, body } = await slow.answered
  deepEqual([status, body, stopped.code], [200, 'hello\n', 0])
  match(stopped.logs, /database closed\n/)
  doesNotMatch(stopped.logs, /^pid1:/m)
  assertTook(stopped.ms, { under: 4000 })
})

test('the same without the ENV line: npm ends, and the client gets no answer', async (t) => {
  const container = await startContainer(t, image('unchanged'), ready, ['--env', 'NODE_OPTIONS='])
  const slow = request(container.port, '/slow')
  await slow.sent
  const [stopped, answer] = await Promise.all([container.stop(), slow.answered.catch(() => 'no answer')])
  equal(answer, 'no answer')
  doesNotMatch(stopped.logs, /database closed/)
})

for (const example of services) {
  test(`with pid1 an idle service stops at once, with its hooks run (${example})`, async (t) => {
    const container = await startContainer(t, image(example), ready)
    const stopped = await container.stop()
    assertCleanedUp(stopped)
    assertTook(stopped.ms, { under: 1000 })
  })

  test(`with pid1 a request in flight is answered (${example})`, async (t) => {
    const container = await startContainer(t, image(example), ready)
    const slow = request(container.port, '/slow')
    await slow.sent
    const stopped = await container.stop()
    const { status, body } = await slow.answered
    equal(status, 200)
    equal(body, 'hello\n')
    assertCleanedUp(stopped)
    assertTook(stopped.ms, { under: 5000 })
  })

  test(`with pid1 a kept connection may linger for a second after its last request (${example})`, async (t) => {
    const agent = new Agent({ keepAlive: true })
    t.after(() => agent.destroy())
    const container = await startContainer(t, image(example), ready)
    await request(container.port, '/', agent).answered
    const answeredAt = Date.now()
    const stopped = await container.stop()
    assertCleanedUp(stopped)
    const lingered = stopped.finishedAt - answeredAt
    assertTook(lingered, { over: 900, under: 2500 })
  })
}

test('with pid1 an open event stream gets its last event and ends cleanly', async (t) => {
  const container = await startContainer(t, image('http'), ready)
  const [response] = (await once(get({ port: container.port, path: '/events' }), 'response')) as [IncomingMessage]
  await once(response, 'readable')
  const [stopped, body] = await Promise.all([container.stop(), text(response)])
  match(body, /^data: .*event: bye\n/s)
  assertCleanedUp(stopped)
  assertTook(stopped.ms, { under: 1000 })
})

for (const load of [
  { clients: 200, thinkMs: 5 },
  { mode: 'new', rate: 500 },
] as const) {
  // By default a container has no CAP_NET_ADMIN, and the user of the example has no rights at all.
  test(`with pid1 clients lose nothing (${Object.values(load).join(', ')})`, async (t) => {
    const container = await startContainer(t, image('http'), ready)
    const clients = await startClients(t, container.port, load)
    const stopped = await container.stop()
    const { answered, lost, refused, statuses, detail } = await clients.counted
    deepEqual({ lost, detail, statuses }, { lost: 0, detail: {}, statuses: { 200: answered } })
    ok(refused > 0)
    assertCleanedUp(stopped)
  })
}

test('with pid1 a blocked event loop is ended before Docker kills it, and says so', async (t) => {
  const block = "console.log('listening 0'); for (;;);"
  const app = [
    'node',
    '--input-type=module',
    '--eval',
    `import { onShutdown } from 'pid1'; onShutdown(() => {}); ${block}`,
  ]
  const container = await startContainer(t, image('http'), ready, [], app)
  const { code, ms, logs } = await container.stop()
  equal(code, 124)
  assertTook(ms, { over: 9000, under: 10_000 })
  match(
    logs,
    /^pid1: ended with 124: the event loop was blocked for 9\d{3} ms, since before the shutdown could begin$/m,
  )
})

for (const [name, code] of [
  ['http', 1],
  ['without', 0],
] as const) {
  test(`an orphan of \`docker exec\` ${code === 1 ? 'is reaped' : 'stays a zombie without pid1'}`, async (t) => {
    const container = await startContainer(t, image(name), ready)
    await container.exec('sh', '-c', '(sleep 0.1 &)')
    const anyZombie = 'sleep 3; grep -q "^State:.Z" /proc/[0-9]*/status; echo $?'
    equal(await container.exec('sh', '-c', anyZombie), `${code}\n`)
  })
}

test('with pid1 under --init the service cleans up too', async (t) => {
  const container = await startContainer(t, image('http'), ready, ['--init'])
  const stopped = await container.stop()
  assertCleanedUp(stopped)
  assertTook(stopped.ms, { under: 1000 })
})

function image(name: string): string {
  const found = images[name]
  if (found === undefined) throw new Error(`Expected the image ${name} to be built`)
  return found
}

/** Removes this library from the app of the example. */
function takePid1Out(file: string): void {
  const source = readFileSync(file, 'utf8')
  const idle = '{ drainOnShutdown() {}, onShutdown() {}, shutdownSignal: () => new AbortController().signal }'
  const changed = source.replace(/^import (\{.*\}) from 'pid1'$/m, `const $1 = ${idle}`)
  notEqual(changed, source)
  writeFileSync(file, changed)
}

async function hello(port: number): Promise<void> {
  const { status, body } = await request(port, '/').answered
  equal(status, 200)
  equal(body, 'hello\n')
}

function assertKilled({ code, ms, logs }: Stopped): void {
  equal(code, 137)
  assertTook(ms, { over: 9500 })
  doesNotMatch(logs, /closing the database|cleaned up/)
}

function assertCleanedUp({ code, logs }: Stopped): void {
  match(logs, /database closed/)
  doesNotMatch(logs, /^pid1: /m)
  equal(code, 0)
}
