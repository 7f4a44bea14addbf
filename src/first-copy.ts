import { warn } from './log.ts'

/** The functions that every copy of the package under this key has. */
interface Copy {
  onShutdown(name: string, hook: () => unknown, options: { readonly stage: 'intake' }): unknown
  shutdown(): Promise<unknown>
  configure(options: { readonly exit: false; readonly children: 'leave'; readonly reap: false }): void
}

// The key contains the major version, because what copies share must not change within one.
export const key: symbol = Symbol.for('pid1@0')

/**
 * The functions of the copy of the package that was loaded first into this process (or worker thread), because one copy must serve all.
 * If the first copy is older and lacks a function, this copy's own function is used.
 */
export function ofFirstCopy<Api extends Copy>(own: Api, whenFirst: () => void): Api {
  const first = findFirstCopy()
  if (first === undefined) {
    share(own)
    whenFirst()
    return own
  }
  const warnOnce = once(() => warnOfOlderCopy(first, own))
  const functions = Object.entries(own).map(([name, newer]: [string, (...args: unknown[]) => unknown]) => {
    const shared = first[name as keyof Copy]
    const fallBack = (...args: unknown[]) => {
      warnOnce()
      return newer(...args)
    }
    return [name, typeof shared === 'function' ? shared : fallBack] as const
  })
  return Object.fromEntries(functions) as unknown as Api
}

function findFirstCopy(): Copy | undefined {
  try {
    const found = (globalThis as Record<symbol, Copy | undefined>)[key]
    const isCopy = (['onShutdown', 'shutdown', 'configure'] as const).every(
      (name) => typeof found?.[name] === 'function',
    )
    return isCopy ? found : undefined
  } catch {
    return undefined // a getter that is not ours
  }
}

function share(own: object): void {
  if (!Object.hasOwn(globalThis, key) && Reflect.defineProperty(globalThis, key, { value: own })) return
  warn(`copies of this package cannot share one shutdown, because globalThis[${String(key)}] cannot be set`)
}

/** Makes the shutdown of this copy a part of the first copy's shutdown, because only one of them may end the process. */
function warnOfOlderCopy(first: Copy, own: Copy): void {
  warn('an older copy of this package was loaded first and lacks a function: install one version (see `npm ls pid1`)')
  own.configure({ exit: false, children: 'leave', reap: false })
  first.onShutdown('the newer copy of pid1', () => own.shutdown(), { stage: 'intake' })
}

function once(action: () => void): () => void {
  let isDone = false
  return () => {
    if (isDone) return
    isDone = true
    action()
  }
}
