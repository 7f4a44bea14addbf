import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

/** The rows of a table in a page of the docs, as the text of their cells. The table is known by its first heading. */
export function tableIn(page: string, firstHeading: string): string[][] {
  const lines = readFileSync(new URL(`../../docs/${page}`, import.meta.url), 'utf8').split('\n')
  const start = lines.findIndex((line) => cellsOf(line)[0] === firstHeading)
  assert.notEqual(start, -1, `No table with the heading ${firstHeading} in ${page}`)
  const end = lines.findIndex((line, index) => index > start && !line.startsWith('|'))
  return lines.slice(start + 2, end).map(cellsOf)
}

function cellsOf(line: string): string[] {
  return line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim())
}
