import timers from 'node:timers'

/**
 * Node's own timers and clocks, read when this package is loaded: with the fake timers of a test a shutdown would wait for ever. They are
 * copied into `const`s, because test tools also replace the exports of `node:timers`. The global ones do not serve: jsdom and happy-dom
 * have replaced them before.
 */
export const setTimeout: typeof timers.setTimeout = timers.setTimeout
export const clearTimeout: typeof timers.clearTimeout = timers.clearTimeout
export const setInterval: typeof timers.setInterval = timers.setInterval
export const clearInterval: typeof timers.clearInterval = timers.clearInterval
export const setImmediate: typeof timers.setImmediate = timers.setImmediate

export const nextTick: typeof process.nextTick = process.nextTick.bind(process)

const { hrtime } = process

/** Milliseconds of the clock of `performance.now()`, with another origin. Loading Node's own `performance` takes a millisecond. */
export const performance: Pick<typeof globalThis.performance, 'now'> = {
  now: () => {
    const [seconds, nanoseconds] = hrtime()
    return seconds * 1000 + nanoseconds / 1e6
  },
}

export const Date: Pick<DateConstructor, 'now'> = { now: globalThis.Date.now.bind(globalThis.Date) }
