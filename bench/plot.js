// Draws what was measured: `node bench/plot.js [--node 20]` reads `results/*.json` and writes `plots/*.svg`.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import * as echarts from 'echarts'
import { graceMs, label, stoppers } from './lib/contenders.js'
import { median } from './lib/statistics.js'

const { values } = parseArgs({ options: { node: { type: 'string', default: process.versions.node.split('.')[0] } } })
const folder = new URL('plots/', import.meta.url)
mkdirSync(folder, { recursive: true })

draw('lost', 'Requests lost in one stop under load, by the number of busy keep-alive clients', ({ results }) =>
  columnsOf(results, (stops) => amount(stops.map(({ lost }) => lost)), [
    '50 clients',
    '200 clients',
    '1000 clients',
    '5000 clients',
  ]),
)
draw('restarts', 'Errors that clients see in six rolling restarts of three instances', ({ results }) => {
  const seen = (name, balancer) => results[name][balancer].map(({ failed502, failedOther }) => failed502 + failedOther)
  return Object.keys(Object.values(results)[0]).map((balancer) => ({
    name: `behind ${balancer}`,
    cells: stoppers.map((name) => amount(seen(name, balancer))),
  }))
})
draw('stops', `Seconds from SIGTERM to the end (SIGKILL after ${graceMs / 1000} s)`, ({ results }) =>
  columnsOf(results, duration),
)
draw('holds', 'Seconds from SIGTERM to the end, with something in the way, and the exit code', ({ results }) =>
  columnsOf(results, duration, ['clean-up hangs', 'a live timer', 'a blocked thread pool', 'a blocked loop']),
)

/** One picture of columns side by side, a row for each contender; nothing where it was not measured. */
function draw(measure, title, toColumns) {
  const file = new URL(`results/${measure}-node${values.node}.json`, import.meta.url)
  if (!existsSync(file)) return console.log(`${measure}: not measured`)
  const columns = toColumns(JSON.parse(readFileSync(file, 'utf8')))
  const svg = new URL(`${measure}.svg`, folder)
  writeFileSync(svg, render(title, columns))
  console.log(`plots/${measure}.svg`)
}

function columnsOf(results, toCell, names = Object.keys(results)) {
  const measured = names.filter((name) => name in results)
  return measured.map((name) => ({ name, cells: stoppers.map((contender) => toCell(results[name][contender] ?? [])) }))
}

function amount(counts) {
  if (counts.length === 0) return { size: 0, text: 'not measured' }
  const count = median(counts)
  return { size: Math.log10(count + 1), text: String(count) }
}

function duration(stops) {
  if (stops.length === 0) return { size: 0, text: 'not measured' }
  if (stops.some(({ killed }) => killed)) return { size: graceMs / 1000, text: 'killed', bad: true }
  const seconds = median(stops.map(({ ms }) => ms)) / 1000
  const codes = [...new Set(stops.map(({ code }) => code))].filter((code) => code !== 0)
  return { size: seconds, text: `${seconds.toFixed(2)}${codes.length > 0 ? ` (${codes.join(', ')})` : ''}` }
}

function render(title, columns) {
  const [width, left, top, rowHeight] = [860, 180, 64, 22]
  const columnWidth = (width - left - 10) / columns.length
  const height = top + stoppers.length * rowHeight + 16
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height })
  const at = (column) => ({ left: left + column * columnWidth, width: columnWidth - 74, top, bottom: 16 })
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    title: [
      { text: title, left: 10, top: 8, textStyle: { fontSize: 15, color: '#1f2328' } },
      ...columns.map(({ name }, column) => ({
        text: name,
        left: at(column).left,
        top: top - 24,
        padding: 0,
        textStyle: { fontSize: 12, fontWeight: 'normal', color: '#59636e' },
      })),
    ],
    grid: columns.map((_, column) => at(column)),
    xAxis: columns.map((_, gridIndex) => ({ gridIndex, type: 'value', show: false, min: 0 })),
    yAxis: columns.map((_, gridIndex) => ({
      gridIndex,
      type: 'category',
      inverse: true,
      data: stoppers.map((name) => label(name).replaceAll(/[*`]/g, '')),
      axisLabel: { show: gridIndex === 0, color: '#1f2328', fontSize: 12, interval: 0 },
      axisTick: { show: false },
      axisLine: { lineStyle: { color: '#d1d9e0' } },
    })),
    series: columns.map(({ cells }, index) => ({
      type: 'bar',
      xAxisIndex: index,
      yAxisIndex: index,
      barWidth: 12,
      data: cells.map(({ size, text, bad = false }, row) => ({
        value: size,
        itemStyle: { color: row === 0 ? '#1a7f37' : bad ? '#cf222e' : '#8c959f' },
        label: { show: true, position: 'right', formatter: () => text, color: '#1f2328', fontSize: 11 },
      })),
    })),
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return `${svg}\n`
}
