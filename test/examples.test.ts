import { deepEqual, doesNotMatch, equal, match, notEqual } from 'node:assert/strict'
import { once } from 'node:events'
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { availableParallelism, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type ClientReadableStream, credentials, makeClientConstructor, type ServiceDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { Queue } from 'bullmq'
import { io } from 'socket.io-client'
import { WebSocket } from 'ws'
import { request } from './docker/client.ts'
import { installPid1, linkModule, moduleFolder } from './helpers/installed-app.ts'
import { startClients } from './helpers/load.ts'
import { freePort } from './helpers/ports.ts'
import { startRedis } from './helpers/redis.ts'
import { asChildAndPid1, asPid1, type Ended, type Run, start, unshare } from './helpers/run.ts'
import { pressCtrlC, startOnTerminal } from './helpers/terminal.ts'
import { assertTook } from './helpers/time.ts'

const examples = fileURLToPath(new URL('../examples/', import.meta.url))

interface Service {
  /** What it prints when it stops. */
  readonly said: readonly string[]
  /** The modules that it needs besides pid1, and their names in this project. */
  readonly modules?: Readonly<Record<string, string>>
  readonly main?: string
  readonly build?: (cwd: string) => void
  readonly env?: NodeJS.ProcessEnv
}

const sameName = (...names: readonly string[]) => Object.fromEntries(names.map((name) => [name, name]))

const services: Readonly<Record<string, Service>> = {
  http: { said: ['closing the database: SIGTERM', 'database closed', 'logs sent'] },
  express: { said: ['database closed'], modules: sameName('express') },
  'express-4': { said: ['database closed'], modules: { express: 'express-4' } },
  fastify: { said: ['app closed', 'database closed'], modules: sameName('fastify') },
  koa: { said: ['database closed'], modules: sameName('koa') },
  hono: { said: ['database closed'], modules: sameName('hono', '@hono/node-server') },
  nest: {
    said: ['onModuleDestroy', 'beforeApplicationShutdown', 'onApplicationShutdown', 'database closed'],
    modules: sameName('@nestjs/common', '@nestjs/core', '@nestjs/platform-express', 'reflect-metadata', 'rxjs'),
  },
  typescript: {
    said: ['database closed'],
    modules: sameName('@types/node'),
    main: 'dist/server.js',
    build: (cwd) => execFileSync(process.execPath, [join(moduleFolder('typescript'), 'bin', 'tsc')], { cwd }),
  },
  cluster: { said: Array.from({ length: availableParallelism() }, () => 'database closed') },
  websockets: { said: ['database closed'], modules: sameName('ws') },
  'socket-io': { said: ['database closed'], modules: sameName('socket.io') },
  'chat-stream': { said: ['database closed'] },
  compose: { said: ['database closed'] },
  unchanged: {
    said: ['database closed'],
    modules: sameName('express'),
    env: { NODE_OPTIONS: '--import pid1/register' },
  },
}

/** The services without a server for HTTP. */
const others: typeof services = {
  grpc: { said: ['database closed'], modules: sameName('@grpc/grpc-js', '@grpc/proto-loader', 'grpc-health-check') },
  bullmq: { said: ['database closed'], modules: sameName('bullmq', 'ioredis') },
}

for (const [example, { said }] of Object.entries(services)) {
  asChildAndPid1(`the example ${example} stops quietly`, async (t, pid1) => {
    const run = startService(t, example, pid1)
    const port = await run.port()
    deepEqual(await request(port, '/').answered, { status: 200, body: 'hello\n' })
    run.signal('SIGTERM')
    assertEndedWell(await run.ended, port, said)
  })

  asChildAndPid1(`the example ${example} answers the request in flight`, async (t, pid1) => {
    const run = startService(t, example, pid1)
    const port = await run.port()
    const slow = request(port, '/slow')
    await slow.sent
    run.signal('SIGTERM')
    deepEqual(await slow.answered, { status: 200, body: 'hello\n' })
    assertEndedWell(await run.ended, port, said)
  })

  asPid1(`the example ${example} loses no request of busy clients`, async (t) => {
    const run = startService(t, example, true)
    const port = await run.port()
    const { counted } = await startClients(t, port, { clients: 100, thinkMs: 5 })
    run.signal('SIGTERM')
    assertEndedWell(await run.ended, port, said)
    const { lost, statuses, answered } = await counted
    deepEqual({ lost, statuses }, { lost: 0, statuses: { 200: answered } })
  })
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  asChildAndPid1(
    `the example nest answers the request in flight with Nest's own hooks instead, at ${signal}`,
    async (t, pid1) => {
      const run = startIn(t, copyNestWithOwnHooks(t), pid1)
      const port = await run.port()
      const slow = request(port, '/slow')
      await slow.sent
      run.signal(signal)
      deepEqual(await slow.answered, { status: 200, body: 'hello\n' })
      // Nest's own listener waits for the end of the stage flush.
      const { said = [] } = services['nest'] ?? {}
      assertEndedWell(await run.ended, port, [...said.slice(-1), ...said.slice(0, -1)])
    },
  )
}

asChildAndPid1("the example nest with Nest's own hooks answers the request in flight after Ctrl-C", async (t, pid1) => {
  const cwd = copyNestWithOwnHooks(t)
  const command = [...(pid1 ? unshare : []), process.execPath, 'server.js']
  const run = startOnTerminal(t, command, { PORT: '0' }, cwd)
  const port = await run.port()
  const slow = request(port, '/slow')
  await slow.sent
  const ended = pressCtrlC(run)
  deepEqual(await slow.answered, { status: 200, body: 'hello\n' })
  const { code, stdout } = await ended
  equal(code, 130, stdout)
  match(stdout, /database closed\r\n[^]*onApplicationShutdown\r\n$/)
})

for (const [what, args, ready, code, said] of [
  ['', ['start.mjs'], (port: number) => new RegExp(`^listening ${port}$`, 'm'), 0, /answer noted\ndatabase closed\n$/], // the first by what the route does after its answer
  // Without start.mjs. Next.js exits with this code.
  [' by pid1/register', ['--import', 'pid1/register', 'server.js'], () => /Ready/, 143, /answer noted\n$/],
] as const) {
  asPid1(`the example next answers the request in flight, and loses none of busy clients${what}`, async (t) => {
    const port = await freePort() // Next.js takes 0 for 3000
    const env = { PORT: String(port), HOSTNAME: '127.0.0.1', NODE_ENV: 'production' }
    const run = start(t, 'next', { pid1: true, cwd: buildNext(), command: [process.execPath, ...args], env })
    await run.line(ready(port))
    const slow = request(port, '/slow')
    await slow.sent
    const { counted } = await startClients(t, port, { clients: 100, thinkMs: 5 })
    run.signal('SIGTERM')
    deepEqual(await slow.answered, { status: 200, body: 'hello\n' })
    const { lost, statuses, answered } = await counted
    deepEqual({ lost, statuses }, { lost: 0, statuses: { 200: answered } })
    const { code: ended, stdout, stderr } = await run.ended
    deepEqual({ code: ended, stderr }, { code, stderr: '' })
    match(stdout, said)
  })
}

asChildAndPid1('the example http ends its event stream', async (t, pid1) => {
  const run = startService(t, 'http', pid1)
  const port = await run.port()
  const [response] = (await once(get({ port, path: '/events' }), 'response')) as [IncomingMessage]
  await once(response, 'readable')
  run.signal('SIGTERM')
  match(await text(response), /^data: .*event: bye\n/s)
  assertEndedWell(await run.ended, port, services['http']?.said ?? [])
})

asChildAndPid1('the example http answers its long poll', async (t, pid1) => {
  const run = startService(t, 'http', pid1)
  const port = await run.port()
  const poll = request(port, '/news')
  await poll.sent
  run.signal('SIGTERM')
  deepEqual(await poll.answered, { status: 204, body: '' })
  const ended = await run.ended
  assertEndedWell(ended, port, services['http']?.said ?? [])
  assertTook(ended.ms, { under: 2000 })
})

asChildAndPid1('the example websockets closes its clients with 1001', async (t, pid1) => {
  const run = startService(t, 'websockets', pid1)
  const port = await run.port()
  const socket = new WebSocket(`ws://127.0.0.1:${port}`)
  await once(socket, 'open')
  socket.send('hello')
  deepEqual(String((await once(socket, 'message'))[0]), 'hello')
  const closed = once(socket, 'close') as Promise<[number, Buffer]>
  run.signal('SIGTERM')
  const [code, reason] = await closed
  deepEqual([code, String(reason)], [1001, 'shutdown'])
  assertEndedWell(await run.ended, port, ['database closed'])
})

for (const transport of ['polling', 'websocket']) {
  asChildAndPid1(`the example socket-io lets a client by ${transport} go`, async (t, pid1) => {
    const run = startService(t, 'socket-io', pid1)
    const port = await run.port()
    const client = io(`http://127.0.0.1:${port}`, { transports: [transport], reconnection: false })
    t.after(() => void client.close())
    equal(await client.timeout(5000).emitWithAck('message', 'hello'), 'hello')
    const gone = new Promise((resolve) => void client.once('disconnect', resolve))
    run.signal('SIGTERM')
    match(String(await gone), /^transport (close|error)$/)
    assertEndedWell(await run.ended, port, ['database closed'])
  })
}

asChildAndPid1('the example chat-stream completes a chat, and ends its events', async (t, pid1) => {
  const run = startService(t, 'chat-stream', pid1)
  const port = await run.port()
  const [events] = (await once(get({ port, path: '/events', agent: false }), 'response')) as [IncomingMessage]
  const chat = await fetch(`http://127.0.0.1:${port}/chat`, { method: 'POST', body: '{}' })
  run.signal('SIGTERM')
  match(await chat.text(), /^data: {"word":"Every"}\n\n[^]*data: {"word":"\."}\n\ndata: \[DONE\]\n\n$/)
  match(await text(events), /^data: hello\n\n/)
  assertEndedWell(await run.ended, port, ['database closed'])
})

asChildAndPid1('the example grpc answers the call in flight, and ends its stream', async (t, pid1) => {
  const cwd = copyExample(t, 'grpc')
  const run = start(t, '', { pid1, cwd, command: [process.execPath, 'server.js'], env: { PORT: '0' } })
  const port = await run.port()
  const definition = loadSync(join(cwd, 'greeter.proto'))
  const Greeter = makeClientConstructor(definition['example.Greeter'] as ServiceDefinition, 'Greeter')
  const client = new Greeter(`127.0.0.1:${port}`, credentials.createInsecure())
  t.after(() => client.close())
  const texts: string[] = []
  const stream = client['watch']?.({ name: 'you' }) as ClientReadableStream<{ text: string }>
  stream.on('data', (greeting: { text: string }) => texts.push(greeting.text))
  await once(stream, 'data')
  const ended = once(stream, 'end')
  const greeted = new Promise((resolve) => {
    client['greet']?.({ name: 'you', slow: true }, (error: Error | null, greeting: object) =>
      resolve(error ?? greeting),
    )
  })
  await once(stream, 'data') // a second later: the call has begun
  run.signal('SIGTERM')
  deepEqual(await greeted, { text: 'hello you' })
  await ended
  deepEqual([texts[0], texts.at(-1)], ['hello you', 'bye'])
  assertEndedWell(await run.ended, port, ['database closed'])
})

asChildAndPid1('the example bullmq completes the job that it has begun, and takes no other', async (t, pid1) => {
  const path = await startRedis(t)
  const queue = new Queue('mails', { connection: { path } })
  t.after(() => queue.close())
  await queue.addBulk([1, 2, 3].map((number) => ({ name: 'mail', data: { number } })))
  const cwd = copyExample(t, 'bullmq')
  const env = { REDIS_SOCKET: path }
  const run = start(t, '', { pid1, cwd, command: [process.execPath, 'worker.js'], env })
  await run.line(/job 1 begins/)
  run.signal('SIGTERM')
  const { code, signal, stdout, stderr } = await run.ended
  deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
  match(stdout, /^(ready\n)?job 1 begins\n(ready\n)?job 1 done\ndatabase closed\n$/)
  const counts = await queue.getJobCounts('completed', 'waiting', 'active')
  deepEqual(counts, { completed: 1, waiting: 2, active: 0 })
})

asChildAndPid1('the example worker completes the job that it has begun, and takes no other', async (t, pid1) => {
  const run = startWorker(t, pid1)
  await run.line(/job 2 begins/)
  run.signal('SIGTERM')
  const { code, signal, stdout, stderr } = await run.ended
  deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
  equal(stdout, 'job 1 begins\njob 1 done\njob 2 begins\njob 2 done\nqueue closed\n')
})

asChildAndPid1('the example worker stops at once while it waits for a job', async (t, pid1) => {
  const run = startWorker(t, pid1)
  await run.line(/job 1 done/)
  run.signal('SIGTERM')
  const { code, signal, stdout, stderr, ms } = await run.ended
  deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
  equal(stdout, 'job 1 begins\njob 1 done\nqueue closed\n')
  assertTook(ms, { under: 900 })
})

test('the tests of the example testing pass', async (t) => {
  const cwd = copyExample(t, 'testing')
  const { code, stdout, stderr } = await start(t, '', { cwd, command: [process.execPath, '--test'] }).ended
  equal(code, 0, `${stdout}\n${stderr}`)
  match(stdout, /^(#|ℹ) pass 3$/m)
})

test('the example compose gives the service the grace period that Compose has', () => {
  const yaml = readFileSync(join(examples, 'compose', 'compose.yaml'), 'utf8')
  const times = ['PID1_GRACE_PERIOD', 'stop_grace_period'].map(
    (key) => new RegExp(`^ +${key}: (.*)$`, 'm').exec(yaml)?.[1],
  )
  deepEqual(times, ['30s', '30s'])
})

for (const example of readdirSync(examples).filter((name) => existsSync(join(examples, name, 'package.json')))) {
  test(`the image of the example ${example} installs what its lock file says`, () => {
    const [manifest, lock] = ['package.json', 'package-lock.json'].map(
      (name) => JSON.parse(readFileSync(join(examples, example, name), 'utf8')) as Record<string, object>,
    )
    const packages = lock?.['packages'] as Record<string, Record<string, unknown>>
    for (const key of ['dependencies', 'devDependencies']) deepEqual(packages['']?.[key], manifest?.[key])
    const addresses = Object.values(packages).flatMap(({ resolved }) => resolved ?? [])
    deepEqual(addresses, [], 'npm takes the registry of the machine')
    const dockerfile = readFileSync(join(examples, example, 'Dockerfile'), 'utf8')
    match(dockerfile, /^RUN npm ci/m)
    doesNotMatch(dockerfile, /npm install/)
    match(readFileSync(join(examples, example, '.dockerignore'), 'utf8'), /^node_modules$/m)
  })
}

asPid1('the example popcorn ignores SIGTERM as it is', async (t) => {
  await assertDeaf(startPopcorn(t, true, 'popcorn.sh'))
})

asPid1('the example popcorn ignores SIGTERM when a script that waits for it is PID 1, trap or not', async (t) => {
  await assertDeaf(startPopcorn(t, true, 'start.sh', 'sh', 'popcorn-with-trap.sh'))
})

asPid1('the example popcorn cleans up with a trap', async (t) => {
  await assertCleansUp(startPopcorn(t, true, 'popcorn-with-trap.sh'))
})

asPid1('the example popcorn cleans up with a trap behind exec', async (t) => {
  await assertCleansUp(startPopcorn(t, true, 'start-with-exec.sh', 'sh', 'popcorn-with-trap.sh'))
})

test('the example popcorn dies of SIGTERM where it is not PID 1, as under --init', async (t) => {
  const run = startPopcorn(t, false, 'popcorn.sh')
  await run.line(/:\d\d:/)
  run.signal('SIGTERM')
  const { code, signal } = await run.ended
  deepEqual({ code, signal }, { code: null, signal: 'SIGTERM' })
})

const runCommand = [
  process.execPath,
  fileURLToPath(new URL('../dist/cli.js', import.meta.url)),
  'run',
  '--grace',
  '4s',
  '--',
]

for (const [script, said, code] of [
  [['popcorn.sh'], '', 143],
  [['popcorn-with-trap.sh'], 'cleaned up\n', 0],
  [['start.sh', 'sh', 'popcorn-with-trap.sh'], 'cleaned up\n', 0],
  [['popcorn-with-sleep.sh'], 'goodbye\n', 0],
] as const) {
  asChildAndPid1(`the example popcorn under pid1 run: ${script.join(' ')}`, async (t, pid1) => {
    const command = [...runCommand, 'sh', ...script]
    const popcorn = start(t, 'popcorn', { pid1, cwd: join(examples, 'popcorn'), command })
    await popcorn.line(/\d\d:\d\d:\d\d/)
    popcorn.signal('SIGTERM')
    const ended = await popcorn.ended
    deepEqual([ended.code, ended.signal], [code, null])
    match(ended.stdout, new RegExp(`${said}$`))
    doesNotMatch(ended.stderr, /pid1 run/)
    assertTook(ended.ms, { under: 3900 })
  })
}

/** A copy of the example beside an installed package, for in the tree its name would not be found. */
function startService(t: TestContext, example: string, pid1: boolean): Run {
  return startIn(t, copyExample(t, example), pid1)
}

function startIn(t: TestContext, cwd: string, pid1: boolean): Run {
  const { main = 'server.js', env = {} } = services[basename(cwd)] ?? {}
  return start(t, '', { pid1, cwd, command: [process.execPath, main], env: { PORT: '0', ...env } })
}

function copyExample(t: TestContext, example: string): string {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'example-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
  const cwd = join(folder, example)
  cpSync(join(examples, example), cwd, { recursive: true, filter: (path) => basename(path) !== 'node_modules' })
  installPid1(folder)
  const { modules = {}, build = () => {} } = services[example] ?? others[example] ?? {}
  for (const [name, from] of Object.entries(modules)) linkModule(folder, name, from)
  build(cwd)
  return cwd
}

/** Nest's `enableShutdownHooks()` closes the app in a signal handler of its own, and then raises the signal again. */
function copyNestWithOwnHooks(t: TestContext): string {
  const folder = copyExample(t, 'nest')
  const file = join(folder, 'server.js')
  const source = readFileSync(file, 'utf8')
  const changed = source
    .replace(', { afterDrain: ({ reason }) => app.close(reason) }', '')
    .replace('await app.listen', 'app.enableShutdownHooks()\nawait app.listen')
  equal(
    changed.length,
    source.length - ', { afterDrain: ({ reason }) => app.close(reason) }'.length + 'app.enableShutdownHooks()\n'.length,
  )
  writeFileSync(file, changed)
  return folder
}

/** Builds it once in this tree, for Next.js wants its modules there. Returns the folder that is to be run. */
function buildNext(): string {
  const example = join(examples, 'next')
  const standalone = join(example, '.next', 'standalone')
  const built = join(standalone, 'examples', 'next')
  const sources = ['app/route.js', 'app/slow/route.js', 'next.config.mjs', 'start.mjs']
  const madeAt = (file: string) => statSync(join(example, file)).mtimeMs
  if (!existsSync(built) || sources.some((file) => madeAt(file) > madeAt('.next/BUILD_ID'))) {
    const next = join(moduleFolder('next'), 'dist', 'bin', 'next')
    execFileSync(process.execPath, [next, 'build'], {
      cwd: example,
      env: { ...process.env, NEXT_TELEMETRY_DISABLED: '1' },
    })
  }
  installPid1(standalone)
  cpSync(join(example, 'start.mjs'), join(built, 'start.mjs'))
  return built
}

function startWorker(t: TestContext, pid1: boolean): Run {
  return start(t, '', { pid1, cwd: copyExample(t, 'worker'), command: [process.execPath, 'worker.js'] })
}

function startPopcorn(t: TestContext, pid1: boolean, ...script: readonly string[]): Run {
  return start(t, 'popcorn', { pid1, cwd: join(examples, 'popcorn'), command: ['sh', ...script] })
}

function assertEndedWell({ code, signal, stdout, stderr }: Ended, port: number, said: readonly string[]): void {
  deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
  deepEqual(stdout.trimEnd().split('\n'), [`listening ${port}`, ...said])
}

/** It goes on popping, and only SIGKILL ends it. */
async function assertDeaf(run: Run): Promise<void> {
  await run.line(/:\d\d:/)
  run.signal('SIGTERM')
  await run.line(/(:\d\d:.*\n[^]*){3}/)
  run.signal('SIGKILL')
  const { code, stdout } = await run.ended
  notEqual(code, 0) // 1 or null: not every unshare passes SIGKILL on
  doesNotMatch(stdout, /cleaned up/)
}

async function assertCleansUp(run: Run): Promise<void> {
  await run.line(/:\d\d:/)
  run.signal('SIGTERM')
  const { code, signal, stdout } = await run.ended
  deepEqual({ code, signal }, { code: 0, signal: null })
  match(stdout, /cleaned up\n$/)
}
