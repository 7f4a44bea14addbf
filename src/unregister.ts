/** Unregisters what a call has registered. It is harmless to call it twice. It also works with `using`. */
export interface Unregister extends Disposable {
  (): void
}

/** A function that unregisters, and is harmless to call twice because `action` is. */
export function unregisterBy(action: () => void): Unregister {
  return Object.assign(() => action(), { [Symbol.dispose]: action })
}
