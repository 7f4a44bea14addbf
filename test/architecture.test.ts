import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'
import { projectFolder } from './helpers/installed-app.ts'

const folder = join(projectFolder, 'src')
const page = readFileSync(join(projectFolder, 'docs', 'architecture.md'), 'utf8')
/** From the top down, as the page lists them. */
const rooms = [...page.matchAll(/^\| `([^`]+)`/gm)].map(([, room = '']) => room)
const sources = new Map(
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => [file, readFileSync(join(folder, file), 'utf8')]),
)

test('docs/architecture.md lists every room of src, and no other', () => {
  const found = readdirSync(folder, { withFileTypes: true }).map((entry) =>
    entry.isFile() ? entry.name : `${entry.name}/`,
  )
  assert.deepEqual(rooms.toSorted(), found.toSorted())
})

test('a room uses only the rooms below it', () => {
  const upwards = []
  for (const [file, imported] of allImports()) {
    const [from, to] = [roomOf(file), roomOf(imported)]
    if (from !== to && rooms.indexOf(to) <= rooms.indexOf(from)) upwards.push(`${file} → ${imported}`)
  }
  assert.deepEqual(upwards, [])
})

test('no files of src import each other in a circle', () => {
  const importsOf = groupByFile(allImports())
  const done = new Set<string>()
  const circles: string[] = []
  const visit = (file: string, path: readonly string[]) => {
    if (path.includes(file)) circles.push([...path, file].join(' → '))
    if (path.includes(file) || done.has(file)) return
    for (const [, imported] of importsOf.get(file) ?? []) visit(imported, [...path, file])
    done.add(file)
  }
  for (const file of sources.keys()) visit(file, [])
  assert.deepEqual(circles, [])
})

const onlyIn = [
  { what: 'process.exit', code: /(?<![`'"])process\.exit\(/, file: 'exit/exit.ts' },
  { what: 'process.dlopen', code: /process\.dlopen\(/, file: 'native.ts' },
  { what: 'console', code: /\bconsole\./, file: undefined },
  { what: 'stderr', code: /writeSync\(2,|stderr\.write/, file: 'log.ts' },
  { what: 'PID1_INVALID_OPTION', code: /new Pid1Error\('PID1_INVALID_OPTION'/, file: 'options.ts' },
  { what: 'p-timeout', code: /from 'p-timeout'/, file: 'time/wait.ts' },
  { what: 'the number 124', code: /\b124\b/, file: 'exit/exit-code.ts' },
  { what: 'the number 130', code: /\b130\b/, file: 'exit/exit-code.ts' },
]

for (const { what, code, file } of onlyIn) {
  test(`${what} is used ${file === undefined ? 'nowhere in src' : `only in src/${file}`}`, () => {
    const found = [...sources].filter(([, text]) => code.test(withoutComments(text))).map(([name]) => name)
    assert.deepEqual(found, file === undefined ? [] : [file])
  })
}

function allImports(): [file: string, imported: string][] {
  return [...sources].flatMap(([file, text]) => {
    const paths = [...text.matchAll(/^(?:import|export)[^;]*?from '(\.[^']+)'/gm)].map(([, path = '']) => path)
    return paths.map((path): [string, string] => [file, relative(folder, join(folder, dirname(file), path))])
  })
}

function groupByFile(imports: readonly [string, string][]): Map<string, [string, string][]> {
  const groups = new Map<string, [string, string][]>()
  for (const each of imports) groups.set(each[0], [...(groups.get(each[0]) ?? []), each])
  return groups
}

function roomOf(file: string): string {
  const [first = '', second] = file.split('/')
  return second === undefined ? first : `${first}/`
}

function withoutComments(text: string): string {
  return text.replace(/\/\*.*?\*\//gs, '').replace(/(?<!['":])\/\/.*$/gm, '')
}
