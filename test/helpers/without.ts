import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fixturePath } from './run.ts'

/** A use of a private field: the file that uses it (its name, in whatever folder), the code that names it, and what stands there instead. */
export interface Change {
  readonly file: string
  readonly code: string
  readonly instead: string
}

const projectFolder = fileURLToPath(new URL('../..', import.meta.url))

/** Copies the package and its fixtures into the folder, changes the code of one file, and returns the folder of the copied fixtures. */
export function fixturesWithout(folder: string, { file, code, instead }: Change): string {
  const copy = mkdtempSync(join(folder, 'copy-'))
  mkdirSync(join(copy, 'dist'))
  for (const name of ['node_modules', 'dist/native']) symlinkSync(join(projectFolder, name), join(copy, name))
  cpSync(join(projectFolder, 'package.json'), join(copy, 'package.json'))
  for (const name of ['core', 'processes', 'servers', 'tls'])
    cpSync(fixturePath(name), join(copy, 'fixtures', name), { recursive: true })
  const parts = readFileSync(join(projectFolder, 'dist/index.js'), 'utf8').split(/^(?=\/\/ src\/)/m)
  const isOf = (part: string) => part.slice(0, part.indexOf('\n')).endsWith(`/${file}.ts`)
  const changed = parts.map((part) => (isOf(part) ? part.replaceAll(code, instead) : part))
  assert.ok(code === instead || changed.join('') !== parts.join(''), `Expected ${file}.ts to name ${code}`)
  writeFileSync(join(copy, 'dist/index.js'), changed.join(''))
  return join(copy, 'fixtures')
}
