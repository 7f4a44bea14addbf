import type { Scenario } from './scenario.ts'

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
type Change = (json: Json) => Json

/**
 * Makes a scenario smaller as long as it fails: it removes elements of lists, then optional keys, and then makes numbers smaller.
 * It tries `atOnce` smaller scenarios at a time, and continues with the first one that fails.
 */
export async function shrink(
  scenario: Scenario,
  fails: (scenario: Scenario) => Promise<boolean>,
  { atOnce, tries }: { atOnce: number; tries: number },
): Promise<Scenario> {
  let smallest = scenario
  let left = tries
  for (let at = 0; left > 0;) {
    const all = smaller(smallest as unknown as Json).filter((json) => isPlayable(json as unknown as Scenario))
    const candidates = all.slice(at, at + atOnce) as unknown as Scenario[]
    if (candidates.length === 0) break
    left -= candidates.length
    const failed = await Promise.all(candidates.map(fails))
    const index = failed.indexOf(true)
    const found = candidates[index]
    if (found === undefined) {
      at += atOnce
    } else {
      smallest = found
      at += index // the smaller ones before it would most likely pass again
    }
  }
  return smallest
}

const hookKeys = ['stage', 'timeoutMs', 'afterEnd', 'supervised', 'signal', 'sidecar']
const optionKeys = ['exitCode', 'children', 'lingerMs', 'endlessMs', 'drainDelayMs', 'whileDraining']
const optional = new Set([...hookKeys, ...optionKeys])

/** All scenarios that are one step smaller, the largest steps first. */
function smaller(json: Json): Json[] {
  const found: { readonly size: number; readonly change: Change }[] = []
  const visit = (value: Json, key: string, put: (value: Json) => Change): void => {
    if (Array.isArray(value)) {
      const list = value as readonly Json[]
      if (list.length > 2) found.push({ size: list.length * 100, change: put(list.slice(0, list.length / 2)) })
      if (list.length > 2) found.push({ size: list.length * 100, change: put(list.slice(list.length / 2)) })
      list.forEach((element, index) => {
        found.push({ size: JSON.stringify(element).length, change: put(list.toSpliced(index, 1)) })
        visit(element, key, (inner) => put(list.with(index, inner)))
      })
    } else if (typeof value === 'object' && value !== null) {
      const object = value as { readonly [key: string]: Json }
      for (const [name, inner] of Object.entries(object)) {
        const { [name]: _, ...rest } = object
        if (optional.has(name) && (name !== 'signal' || key !== 'triggers')) found.push({ size: 9, change: put(rest) })
        visit(inner, name, (smallerInner) => put({ ...object, [name]: smallerInner }))
      }
    } else if (typeof value === 'number' && value > 10 && /ms$/i.test(key) && key !== 'gracePeriodMs') {
      found.push({ size: 1, change: put(0) }, { size: 1, change: put(Math.round(value / 20) * 10) })
    } else if (value === true && key === 'pid1') {
      found.push({ size: 5, change: put(false) })
    }
  }
  visit(json, '', (value) => () => value)
  const text = JSON.stringify(json)
  return found
    .toSorted((a, b) => b.size - a.size)
    .map(({ change }) => change(json))
    .filter((value) => JSON.stringify(value) !== text)
}

/** A scenario needs a trigger that begins the shutdown. */
function isPlayable({ triggers }: Scenario): boolean {
  return triggers.some(({ does }) => does !== 'setExitCode' && does !== 'exit')
}
