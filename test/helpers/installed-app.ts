import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { fixturePath } from './run.ts'

export const projectFolder: string = fileURLToPath(new URL('../../', import.meta.url))

/** The folder into which npm has installed a module of this project. */
export const moduleFolder = (name: string): string => join(projectFolder, 'node_modules', name)

/**
 * Copies the fixtures' folder out of the tree, to an app with a `node_modules` of its own. There an import finds the package as in
 * a user's app. Inside this project it would find the project itself, by its name.
 */
export function makeInstalledApp(t: TestContext, fixtures: string): string {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'app-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
  cpSync(fixturePath(fixtures), folder, { recursive: true })
  return folder
}

/** Installs pid1 and what it depends on as real copies, from the project or from an unpacked tarball. */
export function installPid1(app: string, from: string = projectFolder): void {
  const modules = join(app, 'node_modules')
  for (const part of ['dist', 'package.json']) {
    cpSync(join(from, part), join(modules, 'pid1', part), { recursive: true })
  }
  for (const name of ['debug', 'ms', 'p-timeout', 'signal-exit']) {
    cpSync(moduleFolder(name), join(modules, name), { recursive: true })
  }
}

/** Links one of the project's development dependencies into the app. Its own dependencies are found where the link leads. */
export function linkModule(app: string, name: string, from: string = name): void {
  const link = join(app, 'node_modules', name)
  mkdirSync(dirname(link), { recursive: true })
  symlinkSync(moduleFolder(from), link)
}
