import { setTimeout as delay } from 'node:timers/promises'

/** Stands for the client of a real queue: a new job every second, each of which takes 1.5 seconds. */
export class Queue {
  #last = 0

  /** Waits for the next job. Resolves with `undefined` when `signal` is aborted. */
  async take(signal) {
    try {
      await delay(this.#last === 0 ? 0 : 1000, undefined, { signal })
    } catch {
      return undefined
    }
    return { id: ++this.#last, run: () => delay(1500) }
  }

  async confirm() {
    await delay(10)
  }

  async close() {
    await delay(100)
  }
}
