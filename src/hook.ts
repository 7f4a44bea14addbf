/** What a hook is called with. */
export interface HookContext {
  /** Why the process shuts down: for instance the name of a signal, or the reason given to `shutdown`. */
  readonly reason: string
  /** The error that started the shutdown: an uncaught error, or the error given to `shutdown`. Else undefined. */
  readonly error: unknown
  /**
   * Aborted with an AbortError when a tenth of the hook's time is left (500 ms at most), so that the hook can still end in time. Its
   * `cause` tells why.
   */
  readonly signal: AbortSignal
  /** When the hook is cut at the latest, as epoch milliseconds. */
  readonly deadline: number
  /** The time until the deadline, in milliseconds; never below 0. */
  remainingMs(): number
}

export type Hook = (context: HookContext) => unknown
