// A bundle may be one line of megabytes.
const longestLine = 500
const largestFile = 2 ** 24

/**
 * The place of an error, its source line and a caret, as Node prints them before an uncaught error. Node keeps this text under a private
 * symbol, so it is made again from the first frame whose file can be read. Empty if there is no such frame.
 */
export function sourceLineOf(error: unknown): string {
  try {
    const { stack, message } = error as { stack?: unknown; message?: unknown }
    if (typeof stack !== 'string' || typeof message !== 'string') return ''
    // Frames are only looked for after the message, which may contain what looks like one. A syntax error has its place before the message.
    const [header = '', ...frames] = splitAt(stack, message)
    if (header.includes('\n')) return ''
    for (const frame of frames) {
      const [, file, row, column] = /^ +at (?:.* \(|async )?((?:file:|\/|[A-Z]:\\).*):(\d+):(\d+)\)?$/.exec(frame) ?? []
      const line = file === undefined ? undefined : readLine(file, Number(row))
      if (line !== undefined)
        return `${file}:${row}\n${line}\n${line.slice(0, Number(column) - 1).replace(/[^\t]/g, ' ')}^\n\n`
    }
  } catch {
    // A getter of the error threw, or its file may not be read.
  }
  return ''
}

/** The text before the message, and the lines after it. */
function splitAt(stack: string, message: string): string[] {
  const at = stack.indexOf(message)
  return at === -1 ? [] : [stack.slice(0, at), ...stack.slice(at + message.length).split('\n')]
}

function readLine(file: string, row: number): string | undefined {
  const { readFileSync, statSync } = process.getBuiltinModule('node:fs')
  const path = file.startsWith('file:') ? process.getBuiltinModule('node:url').fileURLToPath(file) : file
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat?.isFile() !== true || stat.size > largestFile) return undefined
  const line = readFileSync(path, 'utf8').split('\n')[row - 1]
  return line === undefined || line.length > longestLine ? undefined : line
}
