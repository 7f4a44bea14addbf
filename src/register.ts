// `node --import pid1/register server.js`: the whole of the package for an app that knows nothing of it.

// Imported by the package's own name, so that this and the app load one copy of index.ts.
import 'pid1'
import { key } from './first-copy.ts'

const { registerApp } = Reflect.get(globalThis, key) as { readonly registerApp?: () => void }

if (registerApp === undefined) {
  throw new Error(
    'Expected the first copy of pid1 in this process to know pid1/register, got an older one: install one version',
  )
}
registerApp()
