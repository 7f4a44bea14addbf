import { addBackgroundWork } from '../hooks/background-work.ts'
import { expectThat, isDisabled, isRevoked } from '../options.ts'
import { install } from '../start/install.ts'

export function waitUntil<Work extends PromiseLike<unknown>>(promise: Work, name?: string): Work {
  expectThat(isThenable(promise), 'the work', 'a promise', promise)
  expectThat(name === undefined || typeof name === 'string', 'the name of the work', 'a string', name)
  if (isDisabled()) return promise
  install()
  // A promise of another library is asked once, because one that is lazy would begin its work again.
  addBackgroundWork(isNative(promise) ? promise : Promise.resolve(promise), name, waitUntil)
  return promise
}

function isNative(value: unknown): value is Promise<unknown> {
  return process.getBuiltinModule('node:util').types.isPromise(value)
}

function isThenable(value: unknown): boolean {
  if (isNative(value)) return true
  const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function'
  return isObject && !isRevoked(value) && typeof (value as { then?: unknown }).then === 'function'
}
