/** The outcome of one request, or of a connection without a request. Times are epoch milliseconds. */
export interface Outcome {
  readonly sentAt: number
  readonly endedAt: number
  /** `closed` is a clean end of a connection without an end of its own. */
  readonly how: 'answered' | 'refused' | 'unavailable' | 'closed' | 'lost'
  readonly detail: string
  /** How long its connection had been idle when the request was written. */
  readonly idleMs: number
}

export interface RunningClient {
  /** The client is in the state that it should have when the shutdown begins. */
  readonly ready: Promise<unknown>
  /** Called at the first trigger. */
  go(): void
  /** Resolves when its connection has ended. */
  readonly outcomes: Promise<Outcome[]>
}

/** The app's events have times of the same clock. */
export const now = (): number => performance.timeOrigin + performance.now()
