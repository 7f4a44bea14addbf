import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { makeFolder } from './helpers/folder.ts'
import { projectFolder } from './helpers/installed-app.ts'

const workflows = join(projectFolder, '.github', 'workflows')
const home = {
  homepage: 'https://example.org',
  bugs: 'https://example.org/issues',
  repository: 'https://example.org/pid1.git',
}

test('the workflows are valid, and every action is pinned by its commit', () => {
  assert.deepEqual(check('check-workflows.js', projectFolder), { status: 0, faults: [] })
})

for (const [what, from, to, fault] of [
  ['has an unknown key', 'timeout-minutes: 15', 'timeout-minuets: 15', /unexpected key "timeout-minuets"/],
  ['uses an unknown value', 'matrix.os', 'matrix.oss', /property "oss" is not defined/],
  ['needs an unknown job', 'needs: package', 'needs: packages', /needs job "packages" which does not exist/],
  ['uses an action by its tag', /checkout@\w+ # v6.0.2/, 'checkout@v6', /expected an action@COMMIT # vVERSION/],
  ['has permissions by default', 'permissions: {}', 'permissions: read-all', /expected "permissions: \{\}"/],
] as const) {
  test(`a workflow that ${what} is found out`, (t) => {
    const folder = makeFolder(t)
    const text = readFileSync(join(workflows, 'release.yml'), 'utf8')
    const broken = text.replace(from, to)
    assert.notEqual(broken, text)
    writeFileSync(join(folder, 'release.yml'), broken)
    const { status, faults } = check('check-workflows.js', projectFolder, [folder])
    assert.equal(status, 1)
    assert.match(faults.join('\n'), fault)
  })
}

test('a release that has all it needs is not refused', (t) => {
  const folder = makeRelease(t)
  assert.deepEqual(check('check-release.js', folder, ['--tag', 'v1.2.3']), { status: 0, faults: [] })
})

for (const key of ['homepage', 'bugs', 'repository'] as const) {
  test(`a release without "${key}" is refused`, (t) => {
    const folder = makeRelease(t, { manifest: { [key]: undefined } })
    assert.deepEqual(check('check-release.js', folder), {
      status: 1,
      faults: [
        `The release is refused: package.json has no "${key}". Add the address of the project's public repository.`,
      ],
    })
  })
}

for (const [what, options, args, faults] of [
  [
    'of a version that is not in the changelog',
    { changelog: '## [Unreleased]\n' },
    [],
    ['CHANGELOG.md has no heading "## [1.2.3] - YYYY-MM-DD".'],
  ],
  [
    'of a version without a date',
    { changelog: '## [1.2.3] - unreleased\n' },
    [],
    ['CHANGELOG.md has no heading "## [1.2.3] - YYYY-MM-DD".'],
  ],
  ['with another tag', {}, ['--tag', 'v1.2.4'], ['the tag is v1.2.4, and package.json expects v1.2.3.']],
  ['from a tree with changes', { dirty: true }, [], ['the tree has changes that are not committed: ?? new.txt']],
] as const) {
  test(`a release ${what} is refused`, (t) => {
    const folder = makeRelease(t, options)
    const said = faults.map((fault) => `The release is refused: ${fault}`)
    assert.deepEqual(check('check-release.js', folder, args), { status: 1, faults: said })
  })
}

test('npm publish in the folder makes the same checks, and npm pack does not', () => {
  const { scripts, publishConfig } = readManifest()
  assert.equal(scripts['prepublishOnly'], 'node .github/check-release.js')
  assert.doesNotMatch(scripts['prepack'] ?? '', /check-release/)
  assert.deepEqual(publishConfig, { access: 'public', provenance: true })
})

test('every file that a script or a workflow names is there', () => {
  const texts = [
    ...Object.values(readManifest().scripts),
    ...readdirSync(workflows).map((name) => readFileSync(join(workflows, name), 'utf8')),
  ]
  const names = texts.flatMap(
    (text) => text.match(/(?:test|bench|examples|native|\.github|\.ci)\/[\w./-]+\.\w+/g) ?? [],
  )
  assert.ok(names.length > 20)
  assert.deepEqual(
    names.filter((name) => !existsSync(join(projectFolder, name))),
    [],
  )
})

interface Release {
  readonly manifest?: Readonly<Record<string, unknown>>
  readonly changelog?: string
  readonly dirty?: boolean
}

/** A project of its own, with what is to be released committed. */
function makeRelease(
  t: TestContext,
  { manifest, changelog = '## [1.2.3] - 2026-01-31\n', dirty }: Release = {},
): string {
  const folder = makeFolder(t)
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ version: '1.2.3', ...home, ...manifest }))
  writeFileSync(join(folder, 'CHANGELOG.md'), `# Changelog\n\n${changelog}`)
  const git = (...args: readonly string[]) =>
    execFileSync('git', ['-c', 'user.name=test', '-c', 'user.email=test@example.org', ...args], { cwd: folder })
  git('init', '--quiet')
  git('add', '.')
  git('commit', '--quiet', '--no-gpg-sign', '--message', 'all')
  if (dirty === true) writeFileSync(join(folder, 'new.txt'), '')
  return folder
}

/** What a script of `.github` has to say, when it is run in this folder. */
function check(script: string, cwd: string, args: readonly string[] = []): { status: number | null; faults: string[] } {
  const file = join(projectFolder, '.github', script)
  const { status, stderr } = spawnSync(process.execPath, [file, ...args], { cwd, encoding: 'utf8' })
  return { status, faults: stderr.split('\n').filter((line) => line !== '') }
}

function readManifest(): { scripts: Record<string, string>; publishConfig: unknown } {
  return JSON.parse(readFileSync(join(projectFolder, 'package.json'), 'utf8')) as ReturnType<typeof readManifest>
}
