import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { asPid1, type Ended, fixturePath, start } from './helpers/run.ts'

const node = process.execPath
const app = fixturePath('core/init.js')
const folder = mkdtempSync(join(tmpdir(), 'init-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const script = join(folder, 'docker-entrypoint-of-the-app.sh')
writeFileSync(script, '#!/bin/sh\n"$@"\nexit $?\n')
chmodSync(script, 0o755)
writeFileSync(join(folder, 'package.json'), JSON.stringify({ scripts: { start: `"${node}" "${app}"` } }))

/** A program of Node with this file name, that starts what follows, as a package manager does. */
function program(name: string): string {
  const file = join(folder, name)
  const source = `require('child_process').spawnSync(process.execPath, [${JSON.stringify(app)}], { stdio: 'inherit' })\n`
  writeFileSync(file, source)
  return file
}

/** A program with this name in its command line, that starts the app. */
function named(name: string): string[] {
  const source = `require('child_process').spawnSync('${node}', ['${app}'], { stdio: 'inherit' })`
  return ['bash', '-c', `exec -a ${name} "$0" --eval "$1"`, node, source]
}

const instead = /write CMD \["node", ".*init\.js"\]$/
const canRun = process.allowedNodeEnvironmentFlags.size > 0 && Number(process.versions.node.split('.')[0]) >= 22

for (const [what, command, init, advice] of [
  ['sh -c with one command', ['dash', '-c', `"${node}" "${app}"`], 'dash', instead],
  ['sh -c with two', ['sh', '-c', `"${node}" "${app}"; exit $?`], 'sh', /last command must be `exec node .*init\.js`/],
  ['bash -c with two', ['bash', '-c', `"${node}" "${app}"; exit $?`], 'bash', /last command must be `exec node /],
  ['a script without exec', [script, node, app], 'sh', /entrypoint-of-the-app\.sh must end with `exec node .*"\$@"`$/],
  ['npm start', ['npm', 'start'], 'npm', instead],
  ['npm run', ['npm', 'run', '--silent', 'start'], 'npm', instead],
  ['npm exec', ['npm', 'exec', '--call', `"${node}" "${app}"`], 'npm', instead],
  ...(canRun ? ([['node --run', [node, '--run', 'start'], 'node --run', instead]] as const) : []),
  ['pnpm', [node, program('pnpm.cjs'), 'start'], 'pnpm', instead],
  [
    'yarn 1',
    ['env', 'npm_config_user_agent=yarn/1.22.22', node, '--no-warnings', program('yarn'), '-s', 'start'],
    'yarn',
    instead,
  ],
] as const) {
  asPid1(`${what} in front of the app: one line says what to write instead`, async (t) => {
    const ended = await start(t, '', { pid1: true, command, cwd: folder }).ended
    assert.match(ended.stdout, new RegExp(`^init ${init}, 1 warnings$`, 'm'), ended.stderr)
    const [line, ...others] = linesOf(ended)
    assert.match(line ?? '', /^pid1: PID 1 is `.+`, which does not pass SIGTERM on to this process in time: /)
    assert.match(line ?? '', advice)
    assert.deepEqual(others, [])
  })
}

for (const [what, command] of [
  'tini',
  'dumb-init',
  'catatonit',
  '/sbin/docker-init',
  's6-svscan',
  'runsvdir',
  '/usr/bin/supervisord',
  '/usr/lib/systemd/systemd',
  '/sbin/init',
  '/init',
  '/pause',
  'runit',
  'watchexec',
]
  .map((name) => [name, named(name)] as const)
  .concat([
    ['nodemon', [node, program('nodemon.js'), 'app.js']],
    ['Yarn 4', ['env', 'npm_config_user_agent=yarn/4.9.1 npm/? node/v24.0.0', node, program('yarn'), 'start']],
    ['a test runner', [node, '--test', '--test-reporter=tap', app]],
    ['a script with a trap', ['sh', '-c', `trap 'kill $!' TERM; "${node}" "${app}" & wait $!`]],
  ])) {
  asPid1(`${what} as PID 1 is no reason for a warning`, async (t) => {
    const ended = await start(t, '', { pid1: true, command, cwd: folder }).ended
    assert.match(ended.stdout, /init .*, 0 warnings$/m, ended.stderr)
    assert.deepEqual(linesOf(ended), [])
  })
}

asPid1('a shell that a person types into is no reason for a warning', async (t) => {
  const run = start(t, '', { pid1: true, command: ['bash', '--login'] })
  run.stdin.end(`"${node}" "${app}"; exit\n`)
  const ended = await run.ended
  assert.match(ended.stdout, /^init bash?.*, 0 warnings$/m)
  assert.deepEqual(linesOf(ended), [])
})

asPid1('a process that entered the container from outside is not warned', async (t) => {
  const shell = start(t, '', { pid1: true, command: ['sh', '-c', 'echo ready; sleep 60; exit $?'] })
  await shell.line(/ready/)
  const user = process.getuid?.() === 0 ? [] : ['--user', '--preserve-credentials']
  const inside = ['nsenter', ...user, '--target', String(shell.pid), '--pid', '--mount']
  const ended = await start(t, 'core/init.js', { inside }).ended
  assert.match(ended.stdout, /^init sh, 0 warnings$/m, ended.stderr)
  assert.deepEqual(linesOf(ended), [])
})

for (const [what, env, args] of [
  ['PID1_WARNINGS=0', { PID1_WARNINGS: '0' }, ''],
  ['PID1_DISABLE=1', { PID1_DISABLE: '1' }, ''],
  ['configure({ warnings: false })', {}, '{"warnings":false}'],
] as const) {
  asPid1(`${what} turns the line off`, async (t) => {
    const command = ['sh', '-c', `"${node}" "${app}" '${args}'; exit $?`]
    const ended = await start(t, '', { pid1: true, command, env }).ended
    assert.match(ended.stdout, /^init sh, 1 warnings$/m)
    assert.deepEqual(linesOf(ended), [])
  })
}

/** What was printed by the library. npm, for one, prints lines of its own. */
function linesOf({ stderr }: Ended): string[] {
  return stderr.split('\n').filter((line) => line.startsWith('pid1:'))
}
