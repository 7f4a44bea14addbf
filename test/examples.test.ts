import { deepEqual, doesNotMatch, equal, match, notEqual, ok } from 'node:assert/strict'
import { once } from 'node:events'
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { request } from './docker/client.ts'
import { installPid1, linkModule, moduleFolder } from './helpers/installed-app.ts'
import { startClients } from './helpers/load.ts'
import { asChildAndPid1, asPid1, type Ended, type Run, start } from './helpers/run.ts'

const examples = fileURLToPath(new URL('../examples/', import.meta.url))

/** What each says at its end, and the modules that it needs: by their names in this project, where those differ. */
const services: Readonly<Record<string, { said: readonly string[]; modules: Readonly<Record<string, string>> }>> = {
  http: { said: ['closing the database: SIGTERM', 'database closed', 'logs sent'], modules: {} },
  express: { said: ['database closed'], modules: { express: 'express' } },
  'express-4': { said: ['database closed'], modules: { express: 'express-4' } },
  fastify: { said: ['app closed', 'database closed'], modules: { fastify: 'fastify' } },
  koa: { said: ['database closed'], modules: { koa: 'koa' } },
  hono: { said: ['database closed'], modules: { hono: 'hono', '@hono/node-server': '@hono/node-server' } },
  nest: {
    said: ['onModuleDestroy', 'beforeApplicationShutdown', 'onApplicationShutdown', 'database closed'],
    modules: Object.fromEntries(
      ['@nestjs/common', '@nestjs/core', '@nestjs/platform-express', 'reflect-metadata', 'rxjs'].map((name) => [
        name,
        name,
      ]),
    ),
  },
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

asPid1("the example nest answers the request in flight with Nest's own shutdown hooks instead", async (t) => {
  const folder = copyExample(t, 'nest')
  const file = join(folder, 'server.js')
  const source = readFileSync(file, 'utf8')
  const changed = source
    .replace(', { afterDrain: () => app.close() }', '')
    .replace('await app.listen', 'app.enableShutdownHooks()\nawait app.listen')
  equal(
    changed.length,
    source.length - ', { afterDrain: () => app.close() }'.length + 'app.enableShutdownHooks()\n'.length,
  )
  writeFileSync(file, changed)
  const run = startIn(t, folder, true)
  const port = await run.port()
  const slow = request(port, '/slow')
  await slow.sent
  run.signal('SIGTERM')
  deepEqual(await slow.answered, { status: 200, body: 'hello\n' })
  assertEndedWell(await run.ended, port, services['nest']?.said ?? [])
})

asPid1('the example next answers the request in flight, and loses none of busy clients', async (t) => {
  const port = await freePort()
  const env = { PORT: String(port), NODE_ENV: 'production' }
  const run = start(t, 'next', { pid1: true, cwd: buildNext(), command: [process.execPath, 'start.mjs'], env })
  equal(await run.port(), port)
  const slow = request(port, '/slow')
  await slow.sent
  const { counted } = await startClients(t, port, { clients: 100, thinkMs: 5 })
  run.signal('SIGTERM')
  deepEqual(await slow.answered, { status: 200, body: 'hello\n' })
  const { lost, statuses, answered } = await counted
  deepEqual({ lost, statuses }, { lost: 0, statuses: { 200: answered } })
  const { code, stdout, stderr } = await run.ended
  deepEqual({ code, stderr }, { code: 0, stderr: '' })
  match(stdout, /answer noted\ndatabase closed\n$/) // the first by what the route does after its answer
})

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
  ok(ended.ms < 2000, `${ended.ms} ms`)
})

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

/** A copy of the example beside an installed package, for in the tree its name would not be found. */
function startService(t: TestContext, example: string, pid1: boolean): Run {
  return startIn(t, copyExample(t, example), pid1)
}

function startIn(t: TestContext, cwd: string, pid1: boolean): Run {
  return start(t, basename(cwd), { pid1, cwd, command: [process.execPath, 'server.js'], env: { PORT: '0' } })
}

function copyExample(t: TestContext, example: string): string {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'example-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
  const cwd = join(folder, example)
  cpSync(join(examples, example), cwd, { recursive: true, filter: (path) => basename(path) !== 'node_modules' })
  installPid1(folder)
  for (const [name, from] of Object.entries(services[example]?.modules ?? {})) linkModule(folder, name, from)
  return cwd
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

/** One that nobody listens on at this moment: Next.js takes 0 for 3000. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await once(server.close(), 'close')
  return port
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
