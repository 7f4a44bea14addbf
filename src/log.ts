import { writeSync } from 'node:fs'
import { inspect } from 'node:util'

type Debug = (namespace: string) => (format: string, ...args: unknown[]) => void

let debug: Debug | undefined
let kept: [namespace: string, format: string, args: unknown[]][] | undefined

/** A line for the curious: `DEBUG=pid1:*`. */
export function note(namespace: string, format: string, ...args: unknown[]): void {
  if (process.env['DEBUG'] === undefined || process.env['DEBUG'] === '') return
  if (debug !== undefined) return debug(`pid1:${namespace}`)(format, ...args)
  if (kept === undefined) void loadDebug()
  kept ??= []
  kept.push([namespace, format, args])
}

/** One line on stderr, for a problem that the user must act on. */
export function complain(line: string): void {
  write(`pid1: ${line}\n`)
}

/** Prints an error as Node inspects it. */
export function printError(what: string, error: unknown): void {
  write(`${what} ${inspect(error)}\n`)
}

/**
 * The log reader often leaves first (`docker stop` of a pipe, a closed terminal). The next `console.log` then raises
 * EPIPE or EIO as an uncaught error, which must not turn a good shutdown into a failed one.
 */
export function swallowOutputErrors(): void {
  for (const stream of [process.stdout, process.stderr]) {
    if (!stream.listeners('error').includes(swallow)) stream.on('error', swallow)
  }
}

function swallow(): void {}

/** Not process.stderr: that may be asynchronous, and a line written just before `process.exit` would be lost. */
function write(text: string): void {
  const bytes = Buffer.from(text)
  let written = 0
  for (let tries = 0; written < bytes.length && tries < 100; tries++) {
    try {
      written += writeSync(2, bytes, written)
    } catch (error) {
      // EAGAIN: somebody made the pipe non-blocking and its reader is slow. Anything else: nobody reads any more.
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) return
    }
  }
}

/** Loaded only when it is wanted: `debug` is the largest part of this package's import time. */
async function loadDebug(): Promise<void> {
  const module = await import('debug')
  debug = module.default
  for (const [namespace, format, args] of kept ?? []) debug(`pid1:${namespace}`)(format, ...args)
  kept = []
}
