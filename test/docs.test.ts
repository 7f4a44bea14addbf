import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import * as pid1 from 'pid1'
import { request } from './docker/client.ts'
import { installPid1, linkModule, makeInstalledApp, moduleFolder, projectFolder } from './helpers/installed-app.ts'
import { asChildAndPid1, start } from './helpers/run.ts'
import { tableIn } from './helpers/table.ts'

/** A block of JavaScript or TypeScript in a Markdown file. */
interface Block {
  readonly file: string
  /** The line of its first line of code. */
  readonly line: number
  readonly code: string
  /**
   * What the comment in front of it declares, for names that the block uses and does not make:
   * `<!-- declare const app: import('fastify').FastifyInstance -->`.
   */
  readonly declares: string
}

/** What a block may use without an import, because it shows a part of a program. */
const prelude = [
  ...Object.keys(pid1).map((name) => `declare const ${name}: typeof import('pid1').${name}`),
  `declare const app: import('express').Express`,
  `declare const server: import('node:http').Server`,
  `declare const pool: { end(): Promise<void> }`,
  `declare const spawn: typeof import('node:child_process').spawn`,
  // Node's own types have no message for any channel.
  `declare module 'node:diagnostics_channel' {
    function subscribe(
      name: 'tracing:net.server.listen:asyncEnd',
      onMessage: (message: { server: import('node:http').Server }) => void,
    ): void
  }`,
]

/** Packages that blocks import and that are not installed here, beside those of the bench: their calls are not checked. */
const notInstalled = ['@opentelemetry/sdk-node', 'kafkajs', 'pg', 'pino']

const markdown = listMarkdown('')

test('every relative link in the Markdown files, and every anchor, leads somewhere', () => {
  const broken = markdown.flatMap((file) =>
    linksOf(file)
      .filter((link) => !resolves(file, link))
      .map((link) => `${file}: ${link}`),
  )
  assert.deepEqual(broken, [])
})

test('every block of JavaScript and TypeScript in the Markdown files has the right types', () => {
  const folder = mkdtempSync(join(tmpdir(), 'blocks-'))
  try {
    assert.deepEqual(checkTypes(folder, markdown.flatMap(blocksOf)), [])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('every line on stderr that docs/troubleshooting.md explains is in the source', () => {
  const folder = join(projectFolder, 'src')
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  const source = [...files.map((file) => join('src', file)), 'native/pid1.c'].map(read).join('\n')
  const lines = tableIn('troubleshooting.md', 'Line').flatMap(([cell = '']) => cell.match(/`[^`]+`/g) ?? [])
  assert.ok(lines.length > 20)
  // What stands for a name or a number separates the parts.
  const parts = lines.flatMap((line) => line.split(/[…;`]/)).map((part) => part.replace(/^[\s,:.)]+|[\s,:.(]+$/g, ''))
  assert.deepEqual(
    parts.filter((part) => !source.includes(part)),
    [],
  )
})

test('the README has at most 160 lines, and none of them is longer than 160 characters', () => {
  const lines = read('README.md').trimEnd().split('\n')
  assert.deepEqual(
    lines.filter((line) => line.length > 160),
    [],
  )
  assert.ok(lines.length <= 160, `${lines.length} lines`)
})

for (const { file, line, code } of ['README.md', 'docs/getting-started.md'].flatMap(blocksOf).filter(isProgram)) {
  asChildAndPid1(`the program in ${file}, line ${line}, answers and stops`, async (t, asPid1) => {
    const app = makeInstalledApp(t, 'docs')
    installPid1(app)
    linkDevDependencies(app)
    writeFileSync(join(app, 'program.js'), code)
    const command = [process.execPath, '--import', './listen-on-loopback.js', 'program.js']
    const run = start(t, '', { pid1: asPid1, cwd: app, command })
    if (code.includes('./queue.js')) await run.line(/took a job/)
    else assert.equal((await request(await run.port(), '/').answered).status, 200)
    run.signal('SIGTERM')
    const ended = await run.ended
    assert.deepEqual([ended.code, ended.signal, ended.stderr], [0, null, ''])
    if (code.includes('./database.js')) assert.match(ended.stdout, /^database closed$/m)
    if (code.includes('./queue.js')) assert.match(ended.stdout, /^worker closed\nqueue closed$/m)
    if (code.includes('./app.module.js')) assert.match(ended.stdout, /^app closed$/m)
  })
}

/** The Markdown files of the project, without what was installed or built. */
function listMarkdown(folder: string): string[] {
  return readdirSync(join(projectFolder, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return /^(node_modules|dist|\.(?!github$).*)$/.test(entry.name) ? [] : listMarkdown(path)
    return entry.name.endsWith('.md') ? [path] : []
  })
}

function read(file: string): string {
  return readFileSync(join(projectFolder, file), 'utf8')
}

/** The targets of links and images, those of the web left out. */
function linksOf(file: string): string[] {
  const text = withoutCode(read(file))
  const targets = [/\]\(\s*<?([^)\s>]+)/g, /^\[[^\]]+\]:\s*(\S+)/gm, /\b(?:href|src|srcset)="([^"]+)"/g].flatMap(
    (link) => [...text.matchAll(link)].map(([, target = '']) => target),
  )
  return targets.filter((target) => !/^[a-z]+:/i.test(target))
}

function resolves(file: string, link: string): boolean {
  const [path = '', anchor] = link.split('#')
  const target = path === '' ? file : join(dirname(file), path)
  if (target.startsWith('..') || !existsSync(join(projectFolder, target))) return false
  return anchor === undefined || (target.endsWith('.md') && anchorsOf(target).includes(anchor))
}

/** The anchors of a file's headings, as GitHub and npm make them. */
function anchorsOf(file: string): string[] {
  const seen = new Map<string, number>()
  return [...withoutBlocks(read(file)).matchAll(/^#{1,6} +(.+?) *#*$/gm)].map(([, heading = '']) => {
    const text = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
    const anchor = text.replace(/[^\p{L}\p{N}\s_-]/gu, '').replace(/\s/g, '-')
    const count = seen.get(anchor) ?? 0
    seen.set(anchor, count + 1)
    return count === 0 ? anchor : `${anchor}-${count}`
  })
}

function withoutBlocks(text: string): string {
  return text.replace(/^( *)(```+)[^]*?^\1\2$/gm, '')
}

function withoutCode(text: string): string {
  return withoutBlocks(text).replace(/(`+)[^]*?\1/g, '')
}

function blocksOf(file: string): Block[] {
  if (!existsSync(join(projectFolder, file))) return []
  const text = read(file)
  const block = /(?:<!-- (declare .*?) -->\s*\n)?^( *)```(?:[cm]?[jt]s|javascript|typescript)\b.*\n([^]*?)^\2```$/gm
  return [...text.matchAll(block)].map((found) => {
    const [whole, declares = '', , code = ''] = found
    const line = text.slice(0, found.index + whole.indexOf('```')).split('\n').length + 1
    return { file, line, code, declares }
  })
}

/** Does it say all that it needs, and do something, so that it can be run? */
function isProgram({ code }: Block): boolean {
  return /^import .* from 'pid1/m.test(code) && /\b(listen|serve|work)\(|'\.\/server\.js'/.test(code)
}

/**
 * Returns the errors, each with the line of the Markdown file. A block whose first line is a path, `// test/fixtures/core/example.js`,
 * may import the project's own files from there.
 */
function checkTypes(folder: string, blocks: readonly Block[]): string[] {
  installPid1(folder)
  linkDevDependencies(folder)
  const ownModules = join(projectFolder, 'test', 'fixtures', 'docs')
  for (const name of readdirSync(ownModules)) writeFileSync(join(folder, name), readFileSync(join(ownModules, name)))
  const { dependencies } = JSON.parse(read('bench/package.json')) as { dependencies: Record<string, string> }
  const isForeign = (name: string) => !existsSync(join(folder, 'node_modules', name))
  const foreign = [...notInstalled, ...Object.keys(dependencies)].filter(isForeign)
  writeFileSync(
    join(folder, 'prelude.d.ts'),
    [...prelude, ...foreign.map((name) => `declare module '${name}'`)].join('\n'),
  )
  for (const { file, line, code, declares } of blocks) {
    const place = join(folder, /^\/\/ (\S+\/)\S+\.[jt]s$/m.exec(code)?.[1] ?? '')
    mkdirSync(place, { recursive: true })
    const padding = '\n'.repeat(line - 2)
    writeFileSync(join(place, `${file.replaceAll('/', '%')}@${line}.ts`), `${padding}${declares}\n${code}`)
  }
  const compilerOptions = { ...compilerOptionsOfBlocks, rootDirs: [folder, projectFolder] }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['**/*'] }))
  const compiler = join(moduleFolder('typescript'), 'bin', 'tsc')
  const { status, stdout, error } = spawnSync(process.execPath, [compiler, '--pretty', 'false'], {
    cwd: folder,
    encoding: 'utf8',
  })
  if (error !== undefined) throw error
  const errors = stdout.split('\n').filter((text) => /^\S/.test(text)) // what follows one is indented
  assert.equal(status === 0, errors.length === 0, stdout)
  return errors.map((text) => text.replace(/^(?:.*\/)?(.+)@\d+\.ts\((\d+),\d+\)/, '$1:$2').replaceAll('%', '/'))
}

/** As in the project, but a block of JavaScript need not say the types of its parameters. */
const compilerOptionsOfBlocks = {
  target: 'es2023',
  lib: ['es2023', 'esnext.disposable'],
  module: 'nodenext',
  moduleDetection: 'force',
  types: ['node'],
  strict: true,
  noImplicitAny: false,
  allowJs: true,
  skipLibCheck: true,
  noEmit: true,
  allowImportingTsExtensions: true,
}

function linkDevDependencies(app: string): void {
  const { devDependencies } = JSON.parse(read('package.json')) as { devDependencies: Record<string, string> }
  for (const name of Object.keys(devDependencies)) if (!name.startsWith('@types/')) linkModule(app, name)
  linkModule(app, '@types')
}
