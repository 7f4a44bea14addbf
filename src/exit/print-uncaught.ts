import { describe, escapeLines, write } from '../log.ts'
import { nodeSymbol } from '../platform/private-fields.ts'
import { sourceLineOf } from './source-line.ts'

/** Prints an uncaught error as Node does, and writes the report that `--report-uncaught-exception` asks for. */
export function printUncaught(error: unknown): void {
  const { isNativeError } = process.getBuiltinModule('node:util').types
  const text = isNativeError(error)
    ? `${escapeLines(sourceLineOf(error))}${insertEmitter(describe(error), error)}`
    : `Uncaught ${describe(error)}`
  write(`${text}\n\nNode.js ${process.version}\n`)
  try {
    if (process.report.reportOnUncaughtException) process.report.writeReport(isNativeError(error) ? error : undefined)
  } catch {
    // Not permitted (--permission).
  }
}

/**
 * Adds where an 'error' event was emitted that had no listener. Needs the function that Node attaches to the error under the
 * symbol `kEnhanceStackBeforeInspector`; where it is missing, only the place where the error was created is printed.
 */
function insertEmitter(text: string, error: Error): string {
  try {
    const own = error as Error & { readonly [symbol: symbol]: () => unknown }
    const symbol = nodeSymbol(own, 'kEnhanceStackBeforeInspector')
    const [before, after] = [error.stack, symbol === undefined ? undefined : own[symbol]?.()]
    return typeof before === 'string' && typeof after === 'string'
      ? text.replace(before, () => escapeLines(after))
      : text
  } catch {
    return text // the app has changed the error
  }
}
