import { readFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'

/** The time that every contender may take. */
export const limitMs = Number(process.env.BENCH_LIMIT_MS ?? 4500)

/** The app's clean-up: nothing, or one that never ends and keeps the loop alive. */
export async function cleanUp() {
  if (process.env.BENCH_HANG === '1') await new Promise(() => setInterval(() => {}, 1000))
}

/** The same server for every contender. */
export function createServer() {
  return process.env.BENCH_TLS === '1' ? createHttpsServer(certificate(), answer) : createHttpServer(answer)
}

export function listen(server) {
  server.listen(Number(process.env.BENCH_PORT ?? 0), '127.0.0.1', () =>
    console.log(`listening ${server.address().port}`),
  )
}

function answer(request, response) {
  if (request.url === '/block') block()
  request.resume().on('end', () => response.end('answered'))
}

/** For good. */
function block() {
  console.log('blocked')
  for (;;);
}

function certificate() {
  const pem = readFileSync(new URL('certificate.pem', import.meta.url))
  return { key: pem, cert: pem }
}
