type Debug = (namespace: string) => (format: string, ...args: unknown[]) => void

let loaded: Debug | undefined

/** Debug output, with `DEBUG=pid1:*`. */
export function debug(namespace: string, format: string, ...args: unknown[]): void {
  if (!process.env['DEBUG']) return
  loaded ??= loadDebug()
  const log = loaded(`pid1:${namespace}`)
  try {
    log(format, ...args.map((arg) => (typeof arg === 'string' ? escapeLine(arg) : arg)))
  } catch {
    // What the app has thrown may throw again when `debug` inspects it.
    log('%s %s', format, args.map(describe).join(' '))
  }
}

/** Prints one line on stderr, about a problem that the user must act on. */
export function warn(line: string): void {
  write(`pid1: ${escapeLine(line)}\n`)
}

/** Prints one such line that ends with an error, which may be anything that can be thrown. */
export function warnOf(what: string, error: unknown): void {
  write(`pid1: ${escapeLine(what)}: ${describe(error)}\n`)
}

/** Prints an error as Node inspects it. */
export function printError(what: string, error: unknown): void {
  write(`${what} ${describe(error)}\n`)
}

/** The text for anything that can be thrown. Never throws, although the `inspect` or a getter of the error may. */
export function describe(error: unknown): string {
  const { inspect, types } = process.getBuiltinModule('node:util')
  const attempts: (() => unknown)[] = [
    () => inspect(error),
    () => inspect(error, { customInspect: false }),
    () => (error as Error).stack,
    () => (error as Error).message,
  ]
  for (const show of attempts) {
    try {
      const text = show()
      // With --frozen-intrinsics Node 20 inspects every error as an empty object.
      if (typeof text === 'string' && !(text === '{}' && types.isNativeError(error))) return escapeLines(text)
    } catch {
      // The next attempt reads less of the error.
    }
  }
  return 'an error that cannot be shown'
}

/** A name that the app or a client chose, made fit for a line: without control characters, and at most 100 characters long. */
export function safeName(name: string): string {
  return escapeLine(name.length > longestName ? `${name.slice(0, longestName - 1)}…` : name)
}

/** A name as `safeName` makes it, in quotation marks. */
export function quoted(name: string): string {
  return `"${safeName(name)}"`
}

/** The text of a list for one line: ten items, and how many more there are. */
export function listOf<Item>(items: readonly Item[], show: (item: Item) => string): string {
  const shown = items.slice(0, mostItems).map(show).join(', ')
  return items.length > mostItems ? `${shown} and ${items.length - mostItems} more` : shown
}

/** "1 request", "2 requests", "2 child processes". */
export function counted(number: number, noun: string): string {
  const ending = noun.endsWith('s') ? 'es' : 's'
  return `${number} ${noun}${number === 1 ? '' : ending}`
}

/** The path of a request's URL in ASCII. The authority, the query and the fragment may hold secrets. */
export function pathOf(url: string): string {
  const path = url.replace(/^(?:[a-z][a-z\d+.-]*:)?\/\/[^/?#]*|^[^/?#]*@/i, '').replace(/[?#].*$/s, '')
  const ascii = path.replace(
    /[^!-~]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  )
  return safeName(ascii === '' ? '/' : ascii)
}

const longestName = 100
const mostItems = 10

// Characters that a terminal acts on, that start a line, or that reorder or hide text. Not by \p{…}: a Node without ICU has no such classes.
const unsafe =
  /[^ -~\xa0-\xac\xae-\u061b\u061d-\u180d\u180f-\u200a\u2010-\u2027\u202f-\u205f\u2070-\ufefe\uff00-\ufff8\ufffc-\uffff]/g

function escapeLine(text: string): string {
  return text.replace(unsafe, escapeCharacter)
}

export function escapeLines(text: string): string {
  return text.replace(unsafe, (character) => (/[\n\t]/.test(character) ? character : escapeCharacter(character)))
}

function escapeCharacter(character: string): string {
  const code = character.charCodeAt(0)
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
}

// Here and elsewhere built-in modules are loaded on use: importing the ones that the app may not need would add a quarter to the import
// time on Node 20.

/** Not process.stderr: that may be asynchronous, and a line written just before `process.exit` would be lost. */
export function write(text: string): void {
  const { writeSync } = process.getBuiltinModule('node:fs')
  const bytes = Buffer.from(text)
  let written = 0
  for (let tries = 0; written < bytes.length && tries < 100; tries++) {
    try {
      written += writeSync(2, bytes, written)
    } catch (error) {
      // EAGAIN: the pipe is non-blocking and its reader is slow. With any other error there is no reader.
      if (codeOf(error) !== 'EAGAIN') return
    }
  }
}

/** The code of a system error, such as `EIO`. */
export function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}

declare const __filename: string | undefined

/** The URL of this file. A bundler that makes a CommonJS module of it leaves `import.meta` empty. */
export function ownUrl(): string {
  const { url } = import.meta as { url?: string }
  return url ?? process.getBuiltinModule('node:url').pathToFileURL(String(__filename)).href
}

/** A file beside this one in the build. */
export function ownFile(path: string): string {
  return process.getBuiltinModule('node:url').fileURLToPath(new URL(path, ownUrl()))
}

/**
 * Loaded on use, because it would be the largest part of the import time; and synchronously, because an `import()` would come too late
 * in a process that is about to exit.
 */
function loadDebug(): Debug {
  try {
    return process.getBuiltinModule('node:module').createRequire(ownUrl())('debug')
  } catch (error) {
    warn(`DEBUG is set, but the package "debug" cannot be loaded: ${String(error)}`) // bundled, or not permitted
    return () => () => {}
  }
}
