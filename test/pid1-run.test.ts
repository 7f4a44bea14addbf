import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { platforms } from '../src/platform/platform-table.ts'
import { makeFolder } from './helpers/folder.ts'
import { residentKibOf } from './helpers/proc.ts'
import { assertEnded } from './helpers/report.ts'
import { asChildAndPid1 as asBoth, asPid1, fixturePath, type Run, start, unshare } from './helpers/run.ts'
import { startOnTerminal } from './helpers/terminal.ts'
import { assertTook } from './helpers/time.ts'

// `pid1 run`, and its init named by itself, against tini and dumb-init as a control.

const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url))
const ownInit = fileURLToPath(new URL(`../dist/native/init-linux-${process.arch}`, import.meta.url))
// In CI also a build for arm64, under an emulator, and one with sanitizers.
const elsewhere = process.env['PID1_TEST_INIT']?.split(' ')
const init = elsewhere ?? [ownInit]
// The emulator does not make a subreaper.
const isEmulated = elsewhere?.length === 2
const asChildAndPid1: typeof asBoth = isEmulated ? (name, body) => asPid1(name, (t) => body(t, true)) : asBoth
type Commands = Readonly<Record<string, readonly string[]>>
const ways: Commands = { ...(elsewhere ? {} : { 'pid1 run': [process.execPath, cli, 'run'] }), 'the init': init }
const controls: Commands = elsewhere ? {} : { tini: ['tini', '-s', '--'], 'dumb-init': ['dumb-init', '--single-child'] }

for (const [name, command] of Object.entries({ ...ways, ...controls })) {
  const isControl = name in controls

  asChildAndPid1(`${name}: the exit code is the command's, 0 to 255`, async (t, pid1) => {
    const codes = Array.from({ length: 256 }, (_, code) => code).filter(
      (code) => name !== 'pid1 run' || code % 50 === 0 || code > 253,
    )
    const script = codes.map((code) => `${command.join(' ')} sh -c 'exit ${code}'; echo $?`).join('\n')
    // As PID 1 each needs a namespace of its own, so a few are enough.
    const few = codes.filter((code) => code % 85 === 0)
    const each = few.map((code) => `${[...unshare, ...command].join(' ')} sh -c 'exit ${code}'; echo $?`).join('\n')
    const ended = await start(t, '', { command: ['sh', '-c', pid1 ? each : script] }).ended
    assert.deepEqual(ended.stdout.trim().split('\n').map(Number), pid1 ? few : codes)
  })

  asChildAndPid1(`${name}: the exit code is 128 + n where a signal has killed the command`, async (t, pid1) => {
    for (const signal of ['SIGKILL', 'SIGSEGV', 'SIGABRT', 'SIGUSR1'] as const) {
      const run = start(t, '', { pid1, command: [...command, 'sh', '-c', `ulimit -c 0; kill -${signal.slice(3)} $$`] })
      assertEnded(await run.ended, 128 + constants.signals[signal])
    }
  })

  asChildAndPid1(`${name}: a command that cannot be found ends with 127`, async (t, pid1) => {
    const ended = await start(t, '', { pid1, command: [...command, 'no-such-command'] }).ended
    assertEnded(ended, name === 'dumb-init' ? 2 : 127)
    if (isControl) return
    assert.equal(ended.stderr, 'pid1 run: cannot start "no-such-command": it was not found\n')
  })

  asChildAndPid1(`${name}: SIGTERM is forwarded, and the command's code is kept`, async (t, pid1) => {
    const run = start(t, '', {
      pid1,
      command: [...command, 'sh', '-c', 'trap "echo bye; exit 6" TERM; echo ready; while :; do sleep 0.05; done'],
    })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 6)
    assert.deepEqual([ended.stdout, ended.stderr], ['ready\nbye\n', ''])
  })

  asPid1(`${name}: zombies in masses are reaped`, async (t) => {
    const run = start(t, '', { pid1: true, command: [...command, 'sh', '-c', orphans(300)] })
    await run.line(/ready/)
    for (const since = performance.now(); zombiesOf(run) > 0; await wait(20)) {
      assert.ok(performance.now() - since < 5000, `${zombiesOf(run)} zombies`)
    }
    run.signal('SIGKILL')
    await run.ended
  })

  // What the issue is about: with tini and dumb-init the app behind a shell is killed without a word.
  asPid1(`${name}: ${isControl ? 'kills' : 'waits for'} an app behind a shell`, async (t) => {
    const run = start(t, '', { pid1: true, command: [...command, 'sh', '-c', `${appThatEndsWith(3)}; true`] })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, isControl ? 143 : 3)
    assert.equal(ended.stdout, isControl ? 'ready\n' : 'ready\nbye\n')
    if (!isControl) assert.equal(ended.stderr, '')
  })
}

const taken = 'HUP INT QUIT USR1 USR2 PIPE ALRM TERM STKFLT CONT TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR'

const { 'dumb-init': _, ...tini } = controls
for (const [name, command] of Object.entries({ ...ways, ...tini })) {
  test(`${name}: every signal that can be forwarded is`, async (t) => {
    // Node does not know the real-time signals.
    const numbers = [
      ...taken.split(' ').map((signal) => [signal, kill(signal)] as const),
      ...(elsewhere ? [] : ['35', '50', '63']).map((n) => [`NUM${n}`, n] as const),
    ]
    const wanted = numbers.filter(([signal]) => !(name === 'tini' && /TTIN|TTOU/.test(signal))) // tini needs these itself
    const run = start(t, '', {
      command: [...command, 'perl', fixturePath('run/signals.pl'), ...wanted.map(([signal]) => signal)],
    })
    await run.line(/ready/)
    for (const [signal, number] of wanted) {
      execFileSync('kill', [`-${number}`, String(run.pid)])
      await run.line(new RegExp(`^got ${signal}$`, 'm'))
    }
    run.stdin.write('end\n')
    assertEnded(await run.ended, 0)
  })
}

for (const [name, command] of Object.entries(ways)) {
  const from = (...options: readonly string[]) => [...command, ...options]

  for (const [rewrite, got] of [
    ['TERM=QUIT', 'QUIT'],
    ['SIGTERM=sigint', 'INT'],
    ['15=10', 'USR1'],
    ['sigterm=USR2', 'USR2'],
  ] as const) {
    test(`${name}: --rewrite ${rewrite}`, async (t) => {
      const run = start(t, '', {
        command: [...from('--rewrite', rewrite), 'perl', fixturePath('run/signals.pl'), got, 'TERM'],
      })
      await run.line(/ready/)
      run.signal('SIGTERM')
      await run.line(new RegExp(`^got ${got}$`, 'm'))
      run.stdin.write('end\n')
      const ended = await run.ended
      assertEnded(ended, 0)
      assert.equal(ended.stdout, `ready\ngot ${got}\n`)
    })
  }

  test(`${name}: --rewrite HUP=0 --rewrite=USR1=USR2 drops one signal and changes another`, async (t) => {
    const run = start(t, '', {
      command: [
        ...from('--rewrite', 'HUP=0', '--rewrite=USR1=USR2'),
        'perl',
        fixturePath('run/signals.pl'),
        'HUP',
        'USR1',
        'USR2',
      ],
    })
    await run.line(/ready/)
    run.signal('SIGHUP')
    run.signal('SIGUSR1')
    await run.line(/^got USR2$/m)
    run.stdin.write('end\n')
    assert.equal((await run.ended).stdout, 'ready\ngot USR2\n')
  })

  asChildAndPid1(`${name}: --group sends to the whole group, once to each`, async (t, pid1) => {
    const inner = `perl -e '$SIG{TERM} = sub { print "inner\\n" }; $| = 1; print "ready\\n"; sleep 1000 while 1'`
    const app = `trap "echo outer; exit 0" TERM; ${inner} & wait`
    const run = start(t, '', { pid1, command: [...from('--group', '--grace', '2s'), 'sh', '-c', app] })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.deepEqual(ended.stdout.trim().split('\n').toSorted(), ['inner', 'outer', 'ready'])
    assert.match(ended.stderr, /^pid1 run: killed "perl" \(pid \d+\), which did not end within \d+ ms\n$/)
    assertTook(ended.ms, { under: 2000 })
  })

  asChildAndPid1(
    `${name}: what is left when the command has ended is asked to end, and waited for`,
    async (t, pid1) => {
      const run = start(t, '', { pid1, command: [...from(), 'sh', '-c', `${appThatEndsWith(3)} & read line; exit 7`] })
      await run.line(/ready/)
      run.stdin.write('go\n')
      const ended = await run.ended
      assertEnded(ended, 7)
      assert.deepEqual([ended.stdout, ended.stderr], ['ready\nbye\n', ''])
    },
  )

  asChildAndPid1(`${name}: at the deadline everything is killed, with a line for each`, async (t, pid1) => {
    const stubborn = `sh -c 'trap "" TERM; echo ready; sleep 1000'`
    const run = start(t, '', {
      pid1,
      command: [...from('--grace', '1s'), 'sh', '-c', `trap "" TERM; ${stubborn}; true`],
    })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 137)
    assertTook(ended.ms, { over: 850, under: 1000 })
    assert.equal(
      ended.stderr.match(/^pid1 run: killed "(sh|sleep)" \(pid \d+\), which did not end within 9\d\d ms$/gm)?.length,
      3,
    )
  })

  asChildAndPid1(`${name}: a sleep that keeps a shell from its trap is ended in time`, async (t, pid1) => {
    const script = 'trap "echo goodbye; exit 4" TERM; echo ready; sleep 1000'
    const run = start(t, '', { pid1, command: [...from('--grace', '2s'), 'sh', '-c', script] })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 4)
    assert.equal(ended.stdout, 'ready\ngoodbye\n')
    assertTook(ended.ms, { under: 1900 })
  })

  test(`${name}: --pdeathsig TERM stops it with its parent`, async (t) => {
    const app = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    const run = start(t, '', {
      command: ['sh', '-c', `"$@" & wait`, 'sh', ...from('--pdeathsig', 'TERM'), 'sh', '-c', app],
    })
    await run.line(/ready/)
    process.kill(run.pid, 'SIGKILL')
    await run.line(/bye/)
  })

  test(`${name}: a script without an interpreter line is one of the shell, and its name is looked up in PATH`, async (t) => {
    const bin = makeFolder(t)
    writeFileSync(join(bin, 'hello'), 'echo hello "$1"\nexit 3\n', { mode: 0o755 })
    const env = { PATH: `/nowhere:${bin}:${process.env['PATH']}` }
    const ended = await start(t, '', { command: [...from('--'), 'hello', '--verbose'], env }).ended
    assertEnded(ended, 3)
    assert.equal(ended.stdout, 'hello --verbose\n')
  })

  for (const [what, code, expected] of [
    ['folder', 126, 'it is not a file that may be executed'],
    ['plain', 126, 'it is not a file that may be executed'],
    ['missing', 127, 'it was not found'],
    ['script', 127, 'its interpreter was not found'],
    ['', 127, 'it was not found'],
  ] as const) {
    test(`${name}: what cannot be started: "${what}"`, async (t) => {
      const cwd = makeFolder(t)
      mkdirSync(join(cwd, 'folder'))
      writeFileSync(join(cwd, 'plain'), 'x')
      writeFileSync(join(cwd, 'script'), '#!/no/such/interpreter\n', { mode: 0o755 })
      chmodSync(join(cwd, 'plain'), 0o644)
      const path = what === '' ? '' : `./${what}`
      const ended = await start(t, '', { command: [...from(), path], cwd }).ended
      assertEnded(ended, code)
      assert.equal(ended.stderr, `pid1 run: cannot start "${path}": ${expected}\n`)
    })
  }

  for (const [options, env, expected] of [
    [[], {}, /the options to be followed by a command/],
    [['--'], {}, /the options to be followed by a command/],
    [['--grace', '10', 'true'], {}, /--grace to be a time with a unit.*got "10"/],
    [['--grace=10h', 'true'], {}, /--grace to be a time such as .*got "10h"/],
    [['--grace'], {}, /--grace to be followed by a value/],
    [['--grace', '-1s', 'true'], {}, /--grace to be a time/],
    [['--grace', '99999999999s', 'true'], {}, /--grace to be a time/],
    [['--rewrite', 'TERM', 'true'], {}, /--rewrite to be two signals.*got "TERM"/],
    [['--rewrite', 'KILL=TERM', 'true'], {}, /--rewrite to be two signals/],
    [['--rewrite', 'TERM=NONE', 'true'], {}, /--rewrite to be two signals/],
    [['--pdeathsig', '0', 'true'], {}, /--pdeathsig to be a signal/],
    [['--graec', '1s', 'true'], {}, /each option to be among .*got "--graec"/],
    [['-g', 'true'], {}, /each option to be among .*got "-g"/],
    [['true'], { PID1_GRACE_PERIOD: '30' }, /PID1_GRACE_PERIOD to be a time with a unit.*got "30"/],
  ] as const) {
    test(`${name}: refuses ${JSON.stringify([...options, env])}`, async (t) => {
      const ended = await start(t, '', { command: from(...options), env }).ended
      assertEnded(ended, 2)
      assert.match(ended.stderr, /^pid1 run: Expected [^\n]*\n$/)
      assert.match(ended.stderr, expected)
      assert.equal(ended.stdout, '')
    })
  }

  test(`${name}: --help`, async (t) => {
    const ended = await start(t, '', { command: from('--help') }).ended
    assertEnded(ended, 0)
    for (const option of ['grace', 'group', 'rewrite', 'pdeathsig', 'verbose', 'help'])
      assert.ok(ended.stdout.includes(`--${option}`))
  })

  test(`${name}: --verbose tells each step`, async (t) => {
    const run = start(t, '', {
      command: [...from('--verbose', '--grace', '4s'), 'sh', '-c', 'echo ready; exec sleep 1000'],
    })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const { stderr } = await run.ended
    const steps = [
      /has started "sh"/,
      /SIGTERM is forwarded as SIGTERM/,
      /ends within 3900 ms/,
      /has ended with 143/,
      /ends with 143/,
    ]
    for (const step of steps) assert.match(stderr, step)
  })

  test(`${name}: where SIGCHLD is ignored, the code of the command is known, and it has SIGCHLD ignored too`, async (t) => {
    const ignore = ['perl', '-e', '$SIG{CHLD} = "IGNORE"; exec @ARGV']
    assertEnded(await start(t, '', { command: [...ignore, ...from(), 'sh', '-c', 'exit 8'] }).ended, 8)
    const ended = await start(t, '', { command: [...ignore, ...from(), 'grep', '^SigIgn', '/proc/self/status'] }).ended
    assert.match(ended.stdout, name === 'the init' ? /^SigIgn:\s+0000000000010000\n$/ : /^SigIgn:\s+0+\n$/)
  })

  for (const [where, pid1] of [
    ['child', false],
    ['PID 1', true],
  ] as const) {
    test(`${name}: Ctrl-C reaches the command by the terminal, once (${where})`, async (t) => {
      const app = fixturePath('run/signals.pl')
      const run = startOnTerminal(t, [...(pid1 ? unshare : []), ...from('--grace', '2s'), 'perl', app, 'INT', 'TERM'])
      await run.line(/ready/)
      run.stdin.write('\u0003')
      await run.line(/got INT/)
      // It may go on after Ctrl-C, for longer than the grace period.
      await wait(2100)
      run.stdin.write('end\n')
      const ended = await run.ended
      assertEnded(ended, 0)
      assert.equal(ended.stdout.match(/got INT/g)?.length, 1)
      assert.doesNotMatch(ended.stdout, /killed/)
    })
  }

  test(`${name}: Ctrl-Z stops both, fg continues both, and the shell gets the terminal back`, async (t) => {
    const run = startOnTerminal(t, ['bash', '--norc', '--noprofile', '-i'], { PS1: '' })
    run.stdin.write(`${from().join(' ')} perl ${fixturePath('run/signals.pl')} USR1\n`)
    await run.line(/ready/)
    run.stdin.write('\u001a')
    await run.line(/Stopped/)
    run.stdin.write('echo in $((1 + 1)) the shell\n')
    await run.line(/in 2 the shell/)
    run.stdin.write('fg\n')
    await run.line(/fg\s+\S[^\n]*signals\.pl USR1/) // bash reads no more from here on
    run.stdin.write('end\n')
    run.stdin.write('echo code $(($? + 40))\n')
    await run.line(/code 40/)
    run.stdin.write('exit 3\n')
    assertEnded(await run.ended, 3)
  })

  test(`${name}: in the background it takes no terminal`, async (t) => {
    const run = startOnTerminal(t, ['bash', '--norc', '--noprofile', '-i'], { PS1: '' })
    run.stdin.write(`${from().join(' ')} sh -c 'echo star""ted; sleep 1000' &\n`)
    await run.line(/started/)
    run.stdin.write('echo in $((1 + 1)) the shell\n')
    await run.line(/in 2 the shell/)
    run.stdin.write('kill %1; wait %1; echo code $(($? + 1))\n')
    await run.line(/code 144/)
    run.stdin.write('exit\n')
    await run.ended
  })

  test(`${name}: the sockets of systemd reach the command`, async (t) => {
    const script = `LISTEN_FDS=2 LISTEN_PID=$$ exec "$@" perl ${fixturePath('run/state.pl')} 3</dev/null 4</dev/null`
    const ended = await start(t, '', { command: ['bash', '-c', script, 'bash', ...from()] }).ended
    assertEnded(ended, 0)
    assert.match(ended.stdout, /^fds 0 1 2 3 4$/m)
    assert.match(ended.stdout, /^sockets mine$/m)
  })

  if (isEmulated) continue
  test(`${name}: as no PID 1 it adopts the orphans, so that nothing is left`, async (t) => {
    const run = start(t, '', { command: [...from(), 'sh', '-c', '(setsid sleep 1000 & echo $! ) ; exit 0'] })
    const ended = await run.ended
    assertEnded(ended, 0)
    assert.ok(!existsSync(`/proc/${ended.stdout.trim()}`))
  })

  test(`${name}: a process has the mask, what is ignored, its folder, variables and arguments as they came`, async (t) => {
    const cwd = makeFolder(t)
    // SIGUSR1 and SIGCHLD ignored, bytes that are no UTF-8, and a descriptor beside the three.
    const ignore = `perl -e '$SIG{$_} = "IGNORE" for qw(USR1); exec @ARGV'`
    const script = `VARIABLE=$(printf 'a\\377b') exec ${ignore} "$@" perl ${fixturePath('run/state.pl')} "$(printf 'c\\376')" 5</dev/null`
    const ended = await start(t, '', { command: ['bash', '-c', script, 'bash', ...from()], cwd }).ended
    assertEnded(ended, 0)
    const isDirect = name === 'the init'
    const ignored = isDirect ? '0000000000000280' : '0000000000000080' // perl ignores SIGFPE
    assert.deepEqual(
      ended.stdout
        .trim()
        .split('\n')
        .filter((text) => !text.startsWith('sockets')),
      [
        'SigBlk 0000000000000000',
        `SigIgn ${ignored}`,
        `cwd ${cwd}`,
        `fds 0 1 2${isDirect ? ' 5' : ''}`,
        'variable 61ff62',
        'argument 63fe',
      ],
    )
  })

  if (elsewhere !== undefined) continue // an emulator and sanitizers need memory, and descriptors
  test(`${name}: it takes less than 200 KiB`, async (t) => {
    const run = start(t, '', { command: [...from(), 'sh', '-c', orphans(50)] })
    await run.line(/ready/)
    assert.ok(residentKibOf(run.pid) < 200, `${residentKibOf(run.pid)} KiB`)
    run.signal('SIGTERM')
    await run.ended
  })

  asPid1(`${name}: npm start gets its time, with the code of the app`, async (t) => {
    const cwd = makeFolder(t)
    writeFileSync(join(cwd, 'package.json'), JSON.stringify({ scripts: { start: appThatEndsWith(0) } }))
    const env = { npm_config_update_notifier: 'false', HOME: cwd }
    const run = start(t, '', { pid1: true, command: [...from(), 'npm', 'start'], cwd, env })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assert.match(ended.stdout, /\nbye\n/)
  })

  asPid1(`${name}: without /proc the command still ends in its time`, async (t) => {
    const script = `umount -l /proc 2>/dev/null; exec "$@"`
    const stubborn = 'trap "exit 5" TERM; sh -c \'trap "" TERM; echo ready; sleep 1000\' & wait'
    const run = start(t, '', {
      pid1: true,
      command: ['sh', '-c', script, 'sh', ...from('--grace', '1s'), 'sh', '-c', stubborn],
    })
    await run.line(/ready/)
    run.signal('SIGTERM')
    const ended = await run.ended
    assertEnded(ended, 5)
    assertTook(ended.ms, { under: 1000 })
  })

  asPid1(`${name}: what has entered the container from outside is left alone`, async (t) => {
    const run = start(t, '', {
      pid1: true,
      command: [...from('--grace', '3s'), 'sh', '-c', 'echo ready; read line; exit 7'],
    })
    await run.line(/ready/)
    const outside = spawn(
      'nsenter',
      ['--target', String(run.pid), '--pid', 'sh', '-c', 'trap "echo told" TERM; echo in; sleep 1000'],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    t.after(() => outside.kill('SIGKILL'))
    const said: string[] = []
    outside.stdout.on('data', (data) => said.push(String(data)))
    while (said.length === 0) await wait(10)
    run.stdin.write('go\n')
    assertEnded(await run.ended, 7)
    assert.deepEqual(said, ['in\n'])
  })
}

test('the init is a program of less than 64 KB, for each CPU that there is a native part for', () => {
  const folder = fileURLToPath(new URL('../dist/native/', import.meta.url))
  const parts = readdirSync(folder).flatMap((file) => /^linux-(\w+)\.node$/.exec(file)?.[1] ?? [])
  assert.ok(parts.length > 0)
  for (const cpu of parts) {
    const { size, mode } = statSync(join(folder, `init-linux-${cpu}`))
    assert.ok(size < 65_536 && (mode & 0o111) !== 0)
  }
})

// Another Node has another init.
if (elsewhere === undefined) {
  test('pid1 run --print-path names the init', () => {
    assert.equal(execFileSync(process.execPath, [cli, 'run', '--print-path'], { encoding: 'utf8' }), `${ownInit}\n`)
  })
}

for (const args of [[], ['stop'], ['--version']]) {
  test(`pid1 ${args.join(' ')} is refused`, () => {
    const { status, stderr, stdout } = spawnSync(process.execPath, [cli, ...args], { encoding: 'utf8' })
    assert.deepEqual([status, stdout], [2, ''])
    assert.match(stderr, /^pid1: Expected the command to be run, got .*\n$/)
  })
}

test('pid1 run without the native part says so, and starts nothing', () => {
  const { status, stderr, stdout } = spawnSync(process.execPath, ['--no-addons', cli, 'run', 'echo', 'started'], {
    encoding: 'utf8',
  })
  assert.deepEqual([status, stdout], [2, ''])
  assert.match(stderr, /^pid1: run: the native part cannot be loaded/)
})

for (const platform of platforms.filter(({ name }) => name !== 'systemd')) {
  test(`the init knows the grace period of ${platform.name}, as the library does`, async (t) => {
    const all = [
      'K_SERVICE',
      'K_REVISION',
      'KUBERNETES_SERVICE_HOST',
      'ECS_CONTAINER_METADATA_URI_V4',
      'CONTAINER_APP_NAME',
    ]
    all.push('WEBSITE_SITE_NAME', 'FLY_APP_NAME', 'DYNO', 'RENDER', 'RAILWAY_PROJECT_ID', 'NOMAD_ALLOC_ID', 'pm_id')
    all.push('SUPERVISOR_ENABLED', 'AWS_LAMBDA_FUNCTION_NAME', 'GITHUB_ACTIONS')
    const sets = [...all.map((name) => [name]), ['K_SERVICE', 'K_REVISION', 'KUBERNETES_SERVICE_HOST']]
    const names = sets.findLast((set) => platform.isHere(Object.fromEntries(set.map((name) => [name, '1']))))
    assert.ok(names !== undefined)
    const env = Object.fromEntries(names.map((name) => [name, '1']))
    const graceMs = platform.gracePeriodMs(env)
    const ended = await start(t, '', { command: [...init, '--verbose', 'true'], env }).ended
    const margin = Math.min(Math.max(Math.floor(graceMs / 10), 250), 2000, Math.floor(graceMs / 2))
    assert.match(ended.stderr, new RegExp(`ends within ${graceMs - Math.floor(margin / 4)} ms`))
  })
}

/** Takes a moment to say goodbye. */
function appThatEndsWith(code: number): string {
  return `perl ${fixturePath('run/app.pl')} ${code}`
}

/** Many processes whose parents end at once. */
function orphans(count: number): string {
  return `for i in $(seq ${count}); do (sleep 0 &) ; done; echo ready; while :; do sleep 0.1; done`
}

function zombiesOf(run: Run): number {
  const children = readFileSync(`/proc/${run.pid}/task/${run.pid}/children`, 'utf8').split(' ').filter(Boolean)
  return children.filter((pid) => {
    try {
      return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
    } catch {
      return false
    }
  }).length
}

function kill(signal: string): string {
  const numbers: Readonly<Record<string, number>> = constants.signals
  return String(numbers[`SIG${signal}`])
}
