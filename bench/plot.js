// Draws the results: `node bench/plot.js [--node 20]` reads `results/*.json`, draws `plots/*.svg`, and writes `tables.md`.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import * as echarts from 'echarts'
import { contenders, graceMs, label } from './lib/contenders.js'
import { each, inSeconds, median } from './lib/statistics.js'

const { values } = parseArgs({ options: { node: { type: 'string', default: process.versions.node.split('.')[0] } } })
const colors = {
  pid1: '#0969da',
  peer: '#8c959f',
  killed: '#ffb3ad',
  text: '#1f2328',
  quiet: '#59636e',
  line: '#d1d9e0',
}
const size = { width: 860, left: 178, top: 84, row: 20, bottom: 14, bar: 11, ofText: 68 }
const countsAre = 'bars by the power of ten'
const timesAre = `in brackets the exit code where it is not 0; SIGKILL after ${graceMs / 1000} s`

draw('lost', {
  title: 'Requests lost in one stop, by the number of busy keep-alive clients',
  how: countsAre,
  toColumns: (results) => columnsOf(results, (stops) => amount(each(stops, 'lost')), /^\d+ clients$/),
})
draw('restarts', {
  title: 'Errors that clients see in rolling restarts of three instances',
  how: countsAre,
  toColumns: (results) =>
    Object.keys(results.pid1).map((balancer) => ({
      name: `behind ${balancer}`,
      cells: mapValues(results, (behind) =>
        amount(behind[balancer].map(({ failed502, failedOther }) => failed502 + failedOther)),
      ),
    })),
})
draw('stop', {
  title: 'Seconds from SIGTERM to the end',
  how: timesAre,
  toColumns: (results) => columnsOf(results, duration),
})
draw('hold', {
  title: 'Seconds from SIGTERM to the end, with something in the way',
  how: timesAre,
  toColumns: (results) => columnsOf(results, duration),
})

writeTables(['lost', 'restarts', 'stop', 'hold', 'codes', 'orphans', 'import', 'size', 'cost', 'delay', 'reconnect'])

/** One picture: a column for each situation that was measured, and a row for each contender. */
function draw(measure, { title, how, toColumns }) {
  const { results, node } = resultsOf(measure) ?? {}
  if (results === undefined) return console.log(`${measure}: not measured on Node ${values.node}`)
  const folder = new URL('plots/', import.meta.url)
  mkdirSync(folder, { recursive: true })
  writeFileSync(
    new URL(`${measure}.svg`, folder),
    render(title, `Medians, Node ${node.slice(1)}; ${how}`, toColumns(results)),
  )
  console.log(`plots/${measure}.svg`)
}

function writeTables(measures) {
  const sections = measures.flatMap((measure) => {
    const { measured, node, platform, cores, as, tables } = resultsOf(measure) ?? {}
    if (tables === undefined) return []
    const where = `Measured on ${measured.slice(0, 10)}, Node ${node.slice(1)}, ${platform}, ${cores} cores, servers as ${as}.`
    return [`## \`--only ${measure}\``, where, tables]
  })
  const intro = 'Written by `node bench/plot.js`, of what `npm run bench` has measured.'
  writeFileSync(new URL('tables.md', import.meta.url), `${['# Tables', intro, ...sections].join('\n\n')}\n`)
  console.log('tables.md')
}

function resultsOf(measure) {
  const file = new URL(`results/${measure}-node${values.node}.json`, import.meta.url)
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined
}

function columnsOf(results, toCell, wanted = /./) {
  const names = Object.keys(results).filter((name) => wanted.test(name))
  return names.map((name) => ({ name, cells: mapValues(results[name], toCell) }))
}

function mapValues(object, change) {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]))
}

/** A logarithmic scale, so that one lost request is still visible beside thousands. */
function amount(counts) {
  if (counts.length === 0) return undefined
  const count = median(counts)
  return { length: Math.log10(count + 1), text: String(count) }
}

function duration(stops) {
  if (stops.length === 0) return undefined
  const killed = stops.filter((stop) => stop.killed).length
  if (killed > 0)
    return { length: graceMs / 1000, text: killed < stops.length ? 'may be killed' : 'killed', killed: true }
  const ms = median(each(stops, 'ms'))
  const codes = [...new Set(each(stops, 'code'))].filter((code) => code !== 0)
  const isLost = stops.some(({ isAnswered }) => isAnswered === false)
  const text = [inSeconds(ms), ...(codes.length > 0 ? [`(${codes.join(', ')})`] : []), ...(isLost ? ['and lost'] : [])]
  return { length: ms / 1000, text: text.join(' ') }
}

function render(title, how, columns) {
  const measured = Object.keys(columns[0].cells)
  const names = [...new Set([...Object.keys(contenders), ...measured])]
  const height = size.top + names.length * size.row + size.bottom
  const columnWidth = (size.width - size.left) / columns.length
  const at = (column) => ({
    left: size.left + column * columnWidth,
    width: columnWidth - size.ofText,
    top: size.top,
    bottom: size.bottom,
  })
  const longest = Math.max(...columns.flatMap(({ cells }) => Object.values(cells).map((cell) => cell?.length ?? 0)))
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: size.width, height })
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    title: [
      heading(title, { left: 10, top: 8, fontSize: 15, fontWeight: 'bold', color: colors.text }),
      heading(how, { left: 10, top: 30, fontSize: 12 }),
      ...columns.map(({ name }, column) => heading(name, { left: at(column).left, top: size.top - 24, fontSize: 12 })),
    ],
    grid: columns.map((_, column) => at(column)),
    xAxis: columns.map((_, gridIndex) => ({ gridIndex, type: 'value', show: false, min: 0, max: longest })),
    yAxis: columns.map((_, gridIndex) => ({
      gridIndex,
      type: 'category',
      inverse: true,
      data: names.map((name) => label(name).replaceAll(/[*`]/g, '')),
      axisLabel: {
        show: gridIndex === 0,
        color: (_name, row) => (names[row] === 'pid1' ? colors.pid1 : colors.text),
        fontSize: 12,
        interval: 0,
      },
      axisTick: { show: false },
      axisLine: { lineStyle: { color: colors.line } },
    })),
    series: columns.map(({ cells }, index) => ({
      type: 'bar',
      xAxisIndex: index,
      yAxisIndex: index,
      barWidth: size.bar,
      data: names.map((name) => bar(name, cells[name])),
    })),
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  // Counted by the process, and the same in every picture without it.
  return `${svg.replaceAll(/zr\d+-/g, 'zr-')}\n`
}

function heading(text, { left, top, ...textStyle }) {
  return { text, left, top, padding: 0, textStyle: { fontWeight: 'normal', color: colors.quiet, ...textStyle } }
}

function bar(name, cell) {
  const needs = contenders[name]?.node
  const { length, text, killed } = cell ?? { length: 0, text: needs ? `needs Node ${needs}` : 'not measured' }
  const color = name === 'pid1' ? colors.pid1 : killed ? colors.killed : colors.peer
  return {
    value: length,
    itemStyle: { color },
    label: {
      show: true,
      position: 'right',
      distance: 4,
      formatter: () => text,
      color: cell === undefined ? colors.quiet : colors.text,
      fontSize: 11,
      fontWeight: name === 'pid1' ? 'bold' : 'normal',
    },
  }
}
