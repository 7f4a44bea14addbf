import type { Hook } from '../hook.ts'
import { registerHook } from '../hooks/register-hook.ts'
import { checkHookOptions, expectThat, type HookOptions, isDisabled, isRevoked } from '../options.ts'
import { install } from '../start/install.ts'
import { type Unregister, unregisterBy } from '../unregister.ts'

export function onShutdown(hook: Hook, options?: HookOptions): Unregister
export function onShutdown(name: string, hook: Hook, options?: HookOptions): Unregister
export function onShutdown(first: string | Hook, second?: Hook | HookOptions, third: HookOptions = {}): Unregister {
  expectThat(typeof first === 'function' || typeof first === 'string', 'the name of the hook', 'a string', first)
  const [hook, options] = typeof first === 'function' ? [first, second === undefined ? {} : second] : [second, third]
  expectThat(typeof hook === 'function' && !isRevoked(hook), 'the hook', 'a function', hook)
  const given = checkHookOptions(options)
  if (isDisabled()) return unregisterBy(() => {})
  install()
  const name = typeof first === 'string' ? first : nameOf(hook)
  return registerHook({ stage: 'cleanup', ...given, name, hook })
}

/** The name of the function. The app may have set it to anything, such as a symbol. */
function nameOf({ name }: { readonly name: unknown }): string {
  return typeof name === 'string' && name !== '' ? name : 'anonymous hook'
}
