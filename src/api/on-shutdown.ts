import type { Hook } from '../hook.ts'
import { registerHook } from '../hooks/register-hook.ts'
import { checkHookOptions, expectThat, type HookOptions, isDisabled, isRevoked } from '../options.ts'
import { install } from '../start/install.ts'
import { type Unregister, unregisterBy } from '../unregister.ts'

/** What has a close of its own: a connection pool, a `DisposableStack`, an `AsyncDisposableStack`. */
export type Resource = Disposable | AsyncDisposable

export function onShutdown(hook: Hook | Resource, options?: HookOptions): Unregister
export function onShutdown(name: string, hook: Hook | Resource, options?: HookOptions): Unregister
export function onShutdown(
  first: string | Hook | Resource,
  second?: Hook | Resource | HookOptions,
  third: HookOptions = {},
): Unregister {
  const isNamed = typeof first === 'string'
  const given: unknown = isNamed ? second : first
  const isHookOrName = isNamed || typeof first === 'function' || (typeof first === 'object' && first !== null)
  expectThat(isHookOrName, 'the name of the hook', 'a string', first)
  expectThat(
    isHookOrResource(given),
    'the hook',
    'a function, or an object with Symbol.asyncDispose or Symbol.dispose',
    given,
  )
  const options = checkHookOptions(isNamed ? third : second === undefined ? {} : second)
  if (isDisabled()) return unregisterBy(() => {})
  install()
  const hook = typeof given === 'function' ? given : () => dispose(given)
  return registerHook({ stage: 'cleanup', ...options, name: isNamed ? first : nameOf(given), hook })
}

function isHookOrResource(value: unknown): value is Hook | Resource {
  if (isRevoked(value)) return false
  return typeof value === 'function' || (typeof value === 'object' && value !== null && methodOf(value) !== undefined)
}

/** Not read before the shutdown: the app may dispose of the resource earlier, and may then do so in another way. */
function dispose(resource: Resource): unknown {
  return Reflect.apply(methodOf(resource) ?? (() => {}), resource, [])
}

/** As `await using` does: the asynchronous one first. */
function methodOf(resource: object): Function | undefined {
  const { [Symbol.asyncDispose]: disposeAsync, [Symbol.dispose]: disposeSync } = resource as Partial<
    Disposable & AsyncDisposable
  >
  const found: unknown = disposeAsync ?? disposeSync
  return typeof found === 'function' ? found : undefined
}

/** The name of the function, or of the resource's class. The app may have set it to anything, such as a symbol. */
function nameOf(hook: Hook | Resource): string {
  const { name } = (typeof hook === 'function' ? hook : (hook.constructor ?? {})) as { readonly name?: unknown }
  return typeof name === 'string' && name !== '' && name !== 'Object' ? name : 'anonymous hook'
}
