export function median(values) {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** `median (smallest–largest)`, or one value if all are the same. */
export function spread(values, show = String) {
  const [middle, least, most] = [median(values), Math.min(...values), Math.max(...values)].map(show)
  return least === most ? middle : `${middle} (${least}–${most})`
}

export const each = (items, key) => items.map((item) => item[key])

export const ofRuns = (runs) => (runs === 1 ? 'one run' : `median and spread of ${runs} runs`)

/** The same items, starting with another one in every round, so that none is always the first. */
export function rotated(items, round) {
  const from = round % items.length
  return [...items.slice(from), ...items.slice(0, from)]
}

export const inMs = (value) => value.toFixed(1)
export const inSeconds = (value) => (value / 1000).toFixed(value < 100 ? 3 : 2)

/** A Markdown table whose columns are aligned in a terminal too. */
export function table(header, rows) {
  const all = [header, ...rows].map((row) => row.map(String))
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column].length)))
  const line = (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`
  const [first, ...others] = all
  return [line(first), line(widths.map((width) => '-'.repeat(width))), ...others.map(line)].join('\n')
}
