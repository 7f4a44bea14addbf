import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { projectFolder } from './helpers/installed-app.ts'

// `node bench/plot.js` writes the tables of what was measured. What the page says in its own words must follow.
const page = readFileSync(join(projectFolder, 'docs', 'benchmarks.md'), 'utf8')
const readme = readFileSync(join(projectFolder, 'README.md'), 'utf8')
const measured = readFileSync(join(projectFolder, 'bench', 'tables.md'), 'utf8')

test('the requests lost in docs/benchmarks.md are those of bench/tables.md', () => {
  const [lost = []] = tablesIn(measured, '## `--only lost`')
  const [told = []] = tablesIn(page, '## Requests lost')
  const [header = [], ...contenders] = lost
  const [, ...scenarios] = told
  assert.equal(scenarios.length, header.length - 1)
  for (const [index, [, runs = '', ours = '', others = '']] of scenarios.entries()) {
    const column = index + 1
    assert.match(header[column] ?? '', new RegExp(`\\(${runs}×\\)$`))
    assert.equal(ours, cellOf(contenders, '**pid1**', column), header[column])
    const [least, most] = rangeOf(contenders, column)
    assert.equal(others, `${least} to ${most}`, header[column])
  }
})

test('the errors in rolling restarts in docs/benchmarks.md are those of bench/tables.md', () => {
  const [[, ...contenders] = []] = tablesIn(measured, '## `--only restarts`')
  const [[, ...balancers] = []] = tablesIn(page, '## Rolling restarts')
  for (const [index, [, ours = '', others = '']] of balancers.entries()) {
    assert.equal(ours.replace(', ', '; '), cellOf(contenders, '**pid1**', index + 1))
    const [least, most] = rangeOf(contenders, index + 1)
    assert.match(others, new RegExp(`^${least}( \\(.+?\\))? to ${most} \\(`))
  }
})

test('every spread in docs/benchmarks.md is one of bench/tables.md', () => {
  const spreads = [...page.matchAll(/([\d.]+)( ms| s| MiB)? \(([\d.]+)–([\d.]+)\)/g)]
  assert.ok(spreads.length > 15)
  for (const [whole, median = '', unit, least = '', most = ''] of spreads) {
    if (whole === '7.7 ms (7.3–8.5)') continue // measured after the tables, as the page says
    const inSeconds = [median, least, most].map((ms) => (Number(ms) / 1000).toFixed(3))
    const found = [
      `${median} (${least}–${most})`,
      ...(unit === ' ms' ? [`${inSeconds[0]} (${inSeconds[1]}–${inSeconds[2]})`] : []),
    ]
    assert.ok(
      found.some((text) => measured.includes(text)),
      whole,
    )
  }
})

for (const [row, section, column, toShown] of [
  ['requests lost, 1000 clients', 'lost', /^1000 clients/, String],
  ['HTTP/2 streams lost', 'lost', /^HTTP\/2/, String],
  ['errors in 6 restarts, nginx', 'restarts', /nginx/, String],
  ['idle stop', 'stop', /^idle/, (seconds: number) => `${Math.round(seconds * 1000)} ms`],
  ['installed, KiB', 'size', /^installed/, String],
] as const) {
  test(`the README's row "${row}" is that of bench/tables.md`, () => {
    const [[, ...names] = [], ...rows] = tablesIn(readme, '## Compared with others')[0] ?? []
    const [[...header] = [], ...contenders] = tablesIn(measured, `## \`--only ${section}\``)[0] ?? []
    const index = header.findIndex((name) => column.test(name))
    const cells = rows.find(([name]) => name === row)?.slice(1) ?? []
    assert.equal(cells.length, names.length)
    for (const [at, cell] of cells.entries()) {
      if (cell === '–' || (row === 'installed, KiB' && names[at] === 'pid1')) continue // measured after the tables
      const name = names[at] === 'pid1' ? '**pid1**' : (names[at] ?? '')
      const [median] = /^[\d.]+/.exec(cellOf(contenders, name, index) ?? '') ?? []
      assert.equal(cell, toShown(Number(median)), name)
    }
  })
}

function tablesIn(text: string, heading: string): string[][][] {
  const [, section = ''] = text.split(`${heading}\n`)
  const tables = (section.split('\n## ')[0] ?? '').match(/(?:^\|.*\n)+/gm) ?? []
  return tables.map((table) => {
    const rows = table.trim().split('\n')
    return rows.toSpliced(1, 1).map((row) =>
      row
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    ) // without the dashes
  })
}

function cellOf(contenders: readonly string[][], name: string, column: number): string | undefined {
  return contenders.find(([contender]) => contender === name)?.[column]
}

/** The least and the largest median of the others. */
function rangeOf(contenders: readonly string[][], column: number): [number, number] {
  const medians = contenders
    .filter(([name]) => name !== '**pid1**' && name !== "the clients' own error")
    .flatMap((cells) => /^[\d.]+/.exec(cells[column] ?? '')?.map(Number) ?? [])
  return [Math.min(...medians), Math.max(...medians)]
}
