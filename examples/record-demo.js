// Runs the demo on a terminal and draws its output as docs/demo.svg: `npm run demo:record`.
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const [charWidth, lineHeight, padding] = [7.8, 18, 18]
const colours = { 1: 'font-weight="bold"', 31: 'fill="#ff7b72"', 32: 'fill="#7ee787"', 36: 'fill="#79c0ff"' }

const { status, stdout, stderr } = record()
if (status !== 0) throw new Error(`The demo ended with ${status}: ${stdout}${stderr}`)
writeFileSync(
  new URL('../docs/demo.svg', import.meta.url),
  draw(`$ npm run demo\n\n${stdout.trimEnd()}`.split(/\r?\n/)),
)

/** `script` gives it a terminal, so that it prints in colour. */
function record() {
  const demo = fileURLToPath(new URL('demo.js', import.meta.url))
  const { NO_COLOR: _, ...env } = process.env
  const command = `'${process.execPath}' --import tsx '${demo}'`
  return spawnSync('script', ['-qec', command, '/dev/null'], { encoding: 'utf8', env: { ...env, TERM: 'xterm' } })
}

function draw(lines) {
  const parsed = lines.map(parse)
  const columns = Math.max(...parsed.map((pieces) => Math.max(0, ...pieces.map(({ at, text }) => at + text.length))))
  const [width, height] = [Math.ceil(columns * charWidth + 2 * padding), lines.length * lineHeight + 2 * padding]
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`,
    `<title>What npm run demo prints</title>`,
    `<rect width="100%" height="100%" rx="8" fill="#0d1117"/>`,
    `<g fill="#e6edf3" font-size="13" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace">`,
    ...parsed.flatMap((pieces, row) => pieces.map((piece) => drawPiece(piece, padding + row * lineHeight))),
    `</g>`,
    `</svg>`,
    '',
  ].join('\n')
}

/** What stands between two gaps, each at its own column, because fonts differ in their width. */
function parse(line) {
  const pieces = []
  let at = 0
  for (const part of `0m${line}`.split('\u001b[')) {
    const [, code, painted] = /^(\d+)m(.*)$/.exec(part)
    for (const text of painted.split(/( {2,})/)) {
      if (text.trim() !== '') pieces.push({ at, text, style: colours[code] })
      at += text.length
    }
  }
  return pieces
}

function drawPiece({ at, text, style = '' }, top) {
  const x = (padding + at * charWidth).toFixed(1)
  const width = (text.length * charWidth).toFixed(1)
  if (/^█+$/.test(text)) return `<rect x="${x}" y="${top + 2}" width="${width}" height="${lineHeight - 4}" ${style}/>`
  return `<text x="${x}" y="${top + 13}" textLength="${width}" ${style}>${escape(text)}</text>`
}

function escape(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
