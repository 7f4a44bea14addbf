import { readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'

/** The time that every contender may take. */
export const limitMs = Number(process.env.BENCH_LIMIT_MS ?? 4500)

/** Where the app listens. */
export const port = Number(process.env.BENCH_PORT ?? 0)
export const host = process.env.BENCH_HOST ?? '127.0.0.1'

/** How long connections may be idle; undefined for Node's default. */
export const keepAliveMs = process.env.BENCH_KEEP_ALIVE_MS ? Number(process.env.BENCH_KEEP_ALIVE_MS) : undefined

/** The app's clean-up: it does nothing, fails, or never ends and keeps the loop alive. */
export async function cleanUp() {
  if (process.env.BENCH_CLEAN_UP === 'fails') throw new Error('the clean-up has failed')
  if (process.env.BENCH_CLEAN_UP === 'hangs') await new Promise(() => setInterval(() => {}, 1000))
}

/** The same server for every contender that does not make its own. */
export function createServer(listener = answer) {
  const server = servers[process.env.BENCH_SERVER ?? 'http'](listener)
  if (keepAliveMs !== undefined) server.keepAliveTimeout = keepAliveMs
  return server
}

const servers = {
  http: (listener) => createHttpServer(listener),
  https: (listener) => createHttpsServer(certificate(), listener),
  http2: (listener) => createHttp2Server(listener),
}

export function listen(server) {
  server.listen(port, host, () => serve(server))
}

/** Adds WebSockets if the measure needs them. */
export async function serve(server) {
  if (process.env.BENCH_WEB_SOCKETS === '1') {
    const { WebSocketServer } = await import('ws')
    new WebSocketServer({ server }).on('connection', () => console.log('upgraded'))
  }
  ready(server)
}

export function ready(server) {
  if (process.env.BENCH_TIMER === '1') setInterval(() => {}, 1000)
  console.log(`listening ${server.address().port}`)
}

export function answer(request, response) {
  hinder(request.url)
  if (request.url === '/slow') {
    console.log('slow')
    setTimeout(() => response.end('answered'), 1000)
    return
  }
  request.resume().on('end', () => response.end('answered'))
}

export function hinder(url) {
  if (url === '/block') blockLoop()
  if (url === '/pool') blockPool()
  if (url === '/heavy') compute(3)
}

/** Blocks for ever, without using a processor. */
function blockLoop() {
  console.log('blocked')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
}

/** A thread of the pool waits for a writer of a FIFO that has none. `process.exit()` waits for that thread. */
function blockPool() {
  open(process.env.BENCH_FIFO).catch(() => {})
  console.log('blocked')
}

function compute(ms) {
  const until = performance.now() + ms
  while (performance.now() < until);
}

/** The key and the certificate of https. */
export function certificate() {
  const pem = readFileSync(new URL('certificate.pem', import.meta.url))
  return { key: pem, cert: pem }
}
