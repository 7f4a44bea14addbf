/** Every code that a `Pid1Error` can carry. */
export type Pid1ErrorCode =
  /** An option, an environment variable, a hook or a server is not what was expected. */
  | 'PID1_INVALID_OPTION'
  /** A hook, or the requests of a server, did not finish in their time. Found in reports, never thrown. */
  | 'PID1_HOOK_TIMEOUT'

/** The only error class of this package. `code` tells the kind of error, `message` what was expected and what was given. */
export class Pid1Error extends Error {
  override readonly name = 'Pid1Error'
  readonly code: Pid1ErrorCode

  constructor(code: Pid1ErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

/** Whether it is an error, of this realm or of another one. It may be anything, also a proxy that throws. */
export function isError(value: unknown): value is Error {
  try {
    return value instanceof Error || process.getBuiltinModule('node:util').types.isNativeError(value)
  } catch {
    return false
  }
}
