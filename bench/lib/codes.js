import { stoppers, tableOf } from './contenders.js'
import { stopInSituations } from './situations.js'

const situations = {
  'the clean-up is done': {},
  'it fails': { cleanUp: 'fails' },
  'it hangs': { cleanUp: 'hangs' },
}

/** The exit codes: the code alone should say how the stop went. */
export async function measureCodes({ pid1, quick, runs = quick ? 1 : 2, say }) {
  const { results, missing } = await stopInSituations({ situations, names: stoppers, pid1, runs, say })
  return { results, missing, text: show(results) }
}

function show(results) {
  const names = Object.keys(results)
  const cell = (stops) => {
    const seen = new Set(stops.map(({ code, killed }) => (killed ? `killed (${code})` : String(code))))
    return [...seen].join(' or ') || '–'
  }
  return [
    'Exit codes after SIGTERM:',
    tableOf(stoppers, names, (name) => names.map((situation) => cell(results[situation][name]))),
  ].join('\n\n')
}
