import { addExitCallback, type ExitCallback } from '../exit/exit-callbacks.ts'
import { expectThat, isDisabled, isRevoked } from '../options.ts'
import { install } from '../start/install.ts'
import { type Unregister, unregisterBy } from '../unregister.ts'

export function onExit(callback: ExitCallback): Unregister {
  expectThat(typeof callback === 'function' && !isRevoked(callback), 'the callback', 'a function', callback)
  if (isDisabled()) return unregisterBy(() => {})
  install()
  return addExitCallback(callback)
}
