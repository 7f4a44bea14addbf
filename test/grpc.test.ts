import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import {
  Client,
  type ClientReadableStream,
  credentials,
  type MethodDefinition,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { service as healthService } from 'grpc-health-check'
import { waitUntilRefused } from './helpers/connection.ts'
import { assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1, type Run, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

// @ts-expect-error -- a fixture without types
import { service as untyped } from './fixtures/servers/grpc-service.js'

type Message = Readonly<Record<string, unknown>>
type Method = MethodDefinition<Message, Message>
const service = untyped as Record<'unary' | 'watch' | 'upload' | 'chat', Method>
const { Check: check, Watch: watchHealth } = healthService as unknown as Record<'Check' | 'Watch', Method>

for (const when of ['before', 'after']) {
  asChildAndPid1(`gRPC, registered ${when} it is bound: 50 busy clients lose no call`, async (t, pid1) => {
    const { run, ports } = await startServer(t, pid1, { when })
    const clients = Array.from({ length: 50 }, () => keepCalling(clientOf(t, ports[0])))
    await wait(500)
    run.signal('SIGTERM')
    const results = await Promise.all(clients)
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 3000 })
    const answered = results.reduce((sum, result) => sum + result.answered, 0)
    assert.ok(answered > 100, `${answered} calls`)
    // UNAVAILABLE is what a client may try again: its call has not been processed.
    assert.deepEqual([...new Set(results.map(({ error }) => error.code))], [status.UNAVAILABLE])
    assert.equal(reportIn(ended).connections.cut, 0)
  })
}

asChildAndPid1('gRPC: a unary call in flight is answered', async (t, pid1) => {
  const { run, ports } = await startServer(t, pid1, {})
  const answer = unary(clientOf(t, ports[0]), { text: 'slow', ms: 1500, says: true })
  await run.line(/^got$/m)
  run.signal('SIGTERM')
  assert.deepEqual(await answer, { answer: 'slow' })
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { over: 1300 })
})

for (const request of [{ goesOn: true }, { quiet: true }, {}]) {
  const what = `a stream of the server (${Object.keys(request).join(' ') || 'one event'})`
  asChildAndPid1(`gRPC: ${what} is ended after endlessMs with UNAVAILABLE`, async (t, pid1) => {
    const { run, ports } = await startServer(t, pid1, { drain: { endlessMs: 600 } })
    const stream = watch(clientOf(t, ports[0]), request)
    await run.line(/^watching$/m)
    run.signal('SIGTERM')
    const ended = await run.ended
    const { code, details } = await stream.ended
    assert.deepEqual({ code, details }, { code: status.UNAVAILABLE, details: 'the server shuts down' })
    assertStoppedWell(ended)
    assertTook(ended.ms, { over: 580, under: 1800 })
    assert.match(ended.stdout, /cancelled\n[^]*hook\n/)
    assert.deepEqual(reportIn(ended).connections, { drained: 0, ended: 1, cut: 0 })
  })
}

asChildAndPid1('gRPC: a stream that ends by itself in its time ends well', async (t, pid1) => {
  const { run, ports } = await startServer(t, pid1, { drain: { endlessMs: 3000 } })
  const stream = watch(clientOf(t, ports[0]), { ends: 800 })
  await run.line(/^watching$/m)
  run.signal('SIGTERM')
  assert.equal((await stream.ended).code, status.OK)
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { under: 2000 })
})

asChildAndPid1(
  'gRPC: streams of the client, and of both, are ended after endlessMs with UNAVAILABLE',
  async (t, pid1) => {
    const { run, ports } = await startServer(t, pid1, { drain: { endlessMs: 400 } })
    const client = clientOf(t, ports[0])
    const { requestSerialize, responseDeserialize } = service.upload
    const uploaded = new Promise<number>((resolve) => {
      const call = client.makeClientStreamRequest(
        service.upload.path,
        requestSerialize,
        responseDeserialize,
        (error: ServiceError | null) => resolve(error?.code ?? status.OK),
      )
      call.write({ part: 1 })
    })
    await run.line(/^uploading$/m)
    const chat = client.makeBidiStreamRequest(service.chat.path, requestSerialize, responseDeserialize)
    const echoed = new Promise((resolve) => void chat.once('data', resolve))
    chat.write({ hello: 1 })
    assert.deepEqual(await echoed, { hello: 1 })
    const chatted = new Promise<number>((resolve) => chat.on('error', (error: ServiceError) => resolve(error.code)))
    run.signal('SIGTERM')
    assert.deepEqual(await Promise.all([uploaded, chatted]), [status.UNAVAILABLE, status.UNAVAILABLE])
    assertStoppedWell(await run.ended)
  },
)

asChildAndPid1(
  'gRPC: health is NOT_SERVING from the signal, for those who ask and for those who watch',
  async (t, pid1) => {
    const { run, ports } = await startServer(t, pid1, { drain: { drainDelayMs: 1000 } })
    const client = clientOf(t, ports[0])
    assert.deepEqual(await health(client), 'SERVING')
    const watcher = client.makeServerStreamRequest(
      watchHealth.path,
      watchHealth.requestSerialize,
      watchHealth.responseDeserialize,
      { service: '' },
    )
    watcher.on('error', () => {})
    const seen: unknown[] = []
    watcher.on('data', (message: Message) => seen.push(message['status']))
    while (seen.length === 0) await wait(5)
    run.signal('SIGTERM')
    await run.line(/^stopping$/m)
    assert.deepEqual(await health(clientOf(t, ports[0])), 'NOT_SERVING')
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.deepEqual(seen, ['SERVING', 'NOT_SERVING'])
  },
)

asChildAndPid1('gRPC: several addresses are drained as one', async (t, pid1) => {
  const { run, ports } = await startServer(t, pid1, { addresses: 2, afterDrain: true })
  const answers = ports.map((port) => unary(clientOf(t, port), { text: 'slow', ms: 700, says: true }))
  await run.line(/got[^]*got/)
  run.signal('SIGTERM')
  for (const port of ports) await waitUntilRefused(port)
  assert.equal((await Promise.all(answers)).length, 2)
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.equal(ended.stdout.match(/afterDrain/g)?.length, 1)
})

test('gRPC: after undrain the server is left alone', async (t) => {
  const { Server } = await import('@grpc/grpc-js')
  const { configure, drainOnShutdown, shutdown, undrain } = await import('pid1')
  configure({ exit: false })
  const server = drainOnShutdown(new Server())
  t.after(() => server.forceShutdown())
  undrain(server)
  const report = await shutdown()
  assert.deepEqual(
    report.stages.flatMap(({ hooks }) => hooks),
    [],
  )
})

async function startServer(t: TestContext, pid1: boolean, options: object): Promise<{ run: Run; ports: number[] }> {
  const run = start(t, 'servers/grpc.js', { pid1, args: [JSON.stringify(options)] })
  const [, ports = ''] = await run.line(/listening ([\d ]+)/)
  return { run, ports: ports.split(' ').map(Number) }
}

function clientOf(t: TestContext, port: number | undefined): Client {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1, // a connection of its own
    'grpc.enable_retries': 0,
  })
  t.after(() => client.close())
  return client
}

function unary(client: Client, request: Message): Promise<Message | undefined> {
  const { path, requestSerialize, responseDeserialize } = service.unary
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, answer) => {
      if (error === null) resolve(answer)
      else reject(error)
    })
  })
}

/** Calls again and again, until a call fails. */
async function keepCalling(client: Client): Promise<{ answered: number; error: ServiceError }> {
  for (let answered = 0; ; answered++) {
    try {
      assert.deepEqual(await unary(client, { text: 'busy' }), { answer: 'busy' })
    } catch (error) {
      return { answered, error: error as ServiceError }
    }
  }
}

function watch(client: Client, request: Message): { ended: Promise<{ code: number; details: string }> } {
  const { path, requestSerialize, responseDeserialize } = service.watch
  const stream: ClientReadableStream<Message> = client.makeServerStreamRequest(
    path,
    requestSerialize,
    responseDeserialize,
    request,
  )
  stream.on('error', () => {})
  stream.on('data', () => {})
  return { ended: new Promise((resolve) => void stream.on('status', resolve)) }
}

function health(client: Client): Promise<unknown> {
  const { path, requestSerialize, responseDeserialize } = check
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { service: '' }, (error, answer) => {
      if (error === null) resolve((answer as Message)['status'])
      else reject(error)
    })
  })
}
