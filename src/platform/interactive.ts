/**
 * Whether a person waits: a key was pressed in the terminal, or a watcher restarts the app at every save. Any other signal is a deploy,
 * even if the standard input is a terminal.
 */
export function isInteractive(fromTerminal: boolean): boolean {
  return fromTerminal || isWatched()
}

/** Whether the standard input is a terminal. `node:tty`, which is slow to load, is not needed for a pipe or for `/dev/null`. */
export function hasTerminal(): boolean {
  const { fstatSync, statSync } = process.getBuiltinModule('node:fs')
  try {
    const input = fstatSync(0)
    if (!input.isCharacterDevice() || input.rdev === statSync('/dev/null').rdev) return false
  } catch {
    // The input is closed, reading it is not permitted, or it is Windows, which has no such path.
  }
  return process.getBuiltinModule('node:tty').isatty(0)
}

/** `node --watch` sets this variable for its child. */
export function isWatched(): boolean {
  return process.env['WATCH_REPORT_DEPENDENCIES'] !== undefined || isWatchedByTsx()
}

/** `tsx watch` sets no variable that `tsx` does not set: only the command line of the parent differs. */
function isWatchedByTsx(): boolean {
  if (!process.execArgv.some((arg) => /\btsx\b/.test(arg))) return false
  try {
    const path = `/proc/${process.ppid}/cmdline`
    const [, ...args] = process.getBuiltinModule('node:fs').readFileSync(path, 'utf8').split('\0')
    return args.includes('watch')
  } catch {
    return process.platform !== 'linux' && hasTerminal() // without /proc: nobody deploys with tsx at a terminal
  }
}

/** Whether the port of a debugger is open. The process may stand at a breakpoint then, so there is no deadline. */
export function isDebugged(): boolean {
  // Node can be built without the inspector.
  return process.getBuiltinModule('node:inspector')?.url() !== undefined
}
