import { AsyncLocalStorage } from 'node:async_hooks'

const insideHook = new AsyncLocalStorage<true>()

/** Whether the caller runs inside a hook. A hook must not wait for the shutdown, which waits for the hook. */
export function isInsideHook(): boolean {
  return insideHook.getStore() === true
}

/** Runs code of the app so that `isInsideHook` recognises it, also after an await. */
export function runInsideHook(code: () => unknown): Promise<unknown> {
  return insideHook.run(true, async () => code())
}
