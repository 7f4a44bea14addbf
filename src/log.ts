type Debug = (namespace: string) => (format: string, ...args: unknown[]) => void

let debug: Debug | undefined

/** A line for the curious: `DEBUG=pid1:*`. */
export function note(namespace: string, format: string, ...args: unknown[]): void {
  if (!process.env['DEBUG']) return
  debug ??= loadDebug()
  debug(`pid1:${namespace}`)(format, ...args)
}

/** One line on stderr, for a problem that the user must act on. */
export function complain(line: string): void {
  write(`pid1: ${line}\n`)
}

/** The same for an error, which may be anything that can be thrown. */
export function complainOf(what: string, error: unknown): void {
  complain(`${what}: ${process.getBuiltinModule('node:util').inspect(error)}`)
}

/** Prints an error as Node inspects it. */
export function printError(what: string, error: unknown): void {
  write(`${what} ${process.getBuiltinModule('node:util').inspect(error)}\n`)
}

// Here and elsewhere Node's modules are taken where they are used: imported at the top, those that an app need not have
// loaded would take a quarter of this package's import time on Node 20.

/**
 * The log reader often leaves first (`docker stop` of a pipe, a closed terminal). The next `console.log` then raises
 * EPIPE or EIO as an uncaught error, which must not turn a good shutdown into a failed one.
 */
export function swallowOutputErrors(): void {
  for (const stream of [process.stdout, process.stderr]) {
    if (!stream.listeners('error').includes(swallow)) stream.on('error', swallow)
  }
}

/**
 * Node 20 aborts in its last step when its terminal is gone (it cannot reset it, and asserts that it can), but passes over
 * what is closed. So a terminal that answers EIO, as one does that was hung up, is closed before.
 */
export function closeDeadTerminals(): void {
  const { closeSync, writeSync } = process.getBuiltinModule('node:fs')
  for (const fd of [0, 1, 2]) {
    try {
      writeSync(fd, '')
    } catch (error) {
      if (codeOf(error) === 'EIO') closeSync(fd)
    }
  }
}

function swallow(): void {}

/** Not process.stderr: that may be asynchronous, and a line written just before `process.exit` would be lost. */
function write(text: string): void {
  const { writeSync } = process.getBuiltinModule('node:fs')
  const bytes = Buffer.from(text)
  let written = 0
  for (let tries = 0; written < bytes.length && tries < 100; tries++) {
    try {
      written += writeSync(2, bytes, written)
    } catch (error) {
      // EAGAIN: somebody made the pipe non-blocking and its reader is slow. Anything else: nobody reads any more.
      if (codeOf(error) !== 'EAGAIN') return
    }
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}

/**
 * Loaded only when it is wanted, as it is the largest part of this package's import time; and at once, because an
 * `import()` would come too late for a process that is just about to leave.
 */
function loadDebug(): Debug {
  try {
    return process.getBuiltinModule('node:module').createRequire(import.meta.url)('debug')
  } catch (error) {
    complain(`DEBUG is set, but the package "debug" is not to be had here: ${String(error)}`) // bundled, or not permitted
    return () => () => {}
  }
}
