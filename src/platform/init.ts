import { ownFile } from '../log.ts'
import { readProcess } from './processes.ts'

/** The name of the program that is PID 1, if it is another one; undefined if it cannot be read. */
export function nameOfInit(): string | undefined {
  const [program = ''] = findProgramInFront(commandOf(1)) ?? []
  return program || readText('/proc/1/comm')?.trim() || undefined
}

/**
 * The warning if PID 1 is a shell or a package manager that has started this process and keeps SIGTERM from it, with what to write instead.
 * PID 1 is known by its command line, because the name in `/proc/1/comm` is cut to 15 characters, and for a script it is the script's.
 */
export function warningOfInit(): string | undefined {
  const command = commandOf(1)
  const front = findProgramInFront(command)
  if (front === undefined || !isStartedByInit()) return undefined
  if (!isShell(front[0]) && hasRegister()) return undefined
  const [program, advice] = front
  if (isShell(program) && catchesTerm(1)) return undefined // a `trap`, which may forward the signal
  const shown = command.join(' ').slice(0, 100)
  return `PID 1 is \`${shown}\`, which does not pass SIGTERM on to this process in time: ${advice}`
}

/** Whether a process is a package manager, or a shell that does not catch SIGTERM: it only waits for its child. */
export function isInFront(pid: number): boolean {
  const [program] = findProgramInFront(commandOf(pid)) ?? []
  return program !== undefined && !(isShell(program) && catchesTerm(pid))
}

/** Whether this process is a package manager. */
export function isPackageManager(): boolean {
  return findProgramInFront(['node', process.argv[1] ?? '']) !== undefined
}

/** Whether `pid1/register` was loaded into PID 1, so that a package manager passes the signal on. */
function hasRegister(): boolean {
  const [, options = ''] = /(?:^|\0)NODE_OPTIONS=([^\0]*)/.exec(readText('/proc/1/environ') ?? '') ?? []
  return options.includes('pid1/register') || options.includes(ownFile('register.js'))
}

/** If PID 1 is a shell or a package manager in front of the app: its name, and what to write instead of it. */
function findProgramInFront([path = '', ...args]: readonly string[]):
  | readonly [program: string, advice: string]
  | undefined {
  const program = baseName(path).replace(/^-/, '')
  if (program === 'busybox') return findProgramInFront(args)
  if (isShell(program))
    return args.some((arg) => !/^-[il]|^--login$/.test(arg)) ? [program, adviceForShell(args)] : undefined
  // npm sets its title, which then is its whole command line.
  const [manager] = /^(npm|npx|pnpm|yarn)(?= |$)/.exec(program) ?? []
  if (manager !== undefined) return [manager, adviceForManager()]
  if (!/^node(js)?$/.test(program)) return undefined
  const file = args.findIndex((arg) => !arg.startsWith('-'))
  const options = file === -1 ? args : args.slice(0, file)
  if (options.some((arg) => /^--run(=|$)/.test(arg))) return ['node --run', adviceForManager()]
  const [script] =
    /^(npm|npx|pnpm|pnpx|yarn|yarnpkg)(?=(-cli|-[\d.]+)?(\.[cm]?js)?$)/.exec(baseName(args[file] ?? '')) ?? []
  // Yarn 2 and later forward the signal, and wait.
  const forwards = /^yarn\/([2-9]|\d\d)/.test(process.env['npm_config_user_agent'] ?? '')
  return script === undefined || forwards ? undefined : [script, adviceForManager()]
}

const shells = new Set(['sh', 'dash', 'ash', 'bash', 'zsh', 'ksh', 'mksh'])

function isShell(program: string): boolean {
  return shells.has(program)
}

function adviceForShell(args: readonly string[]): string {
  const script = args.find((arg) => !arg.startsWith('-')) ?? ''
  const isText = args.some((arg) => /^-\w*c$/.test(arg))
  if (isText && !/[;&|\n]/.test(script)) return adviceForManager()
  return `${isText ? 'the last command must be' : `${script} must end with`} \`exec ${ownCommand().join(' ')}\`, or \`exec "$@"\``
}

function adviceForManager(): string {
  return `write CMD ${JSON.stringify(ownCommand()).replaceAll(',', ', ')}`
}

/** Without the arguments of the app, because they may hold secrets, and this is printed. */
function ownCommand(): string[] {
  const [, script = 'server.js', ...rest] = process.argv
  const file = process.getBuiltinModule('node:path').relative('', script)
  return ['node', ...process.execArgv, file.startsWith('..') ? script : file, ...(rest.length > 0 ? ['…'] : [])]
}

/** A process that entered the container from outside (`docker exec`) has no ancestor in it. */
function isStartedByInit(): boolean {
  let pid = process.ppid
  for (let depth = 0; pid > 1 && depth < 100; depth++) pid = readProcess(pid)?.parent ?? 0
  return pid === 1
}

function catchesTerm(pid: number): boolean {
  const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readText(`/proc/${pid}/status`) ?? '')?.[1] ?? '0'
  return ((BigInt(`0x${mask}`) >> 14n) & 1n) === 1n
}

function commandOf(pid: number): string[] {
  return (readText(`/proc/${pid}/cmdline`) ?? '').split('\0').filter((arg) => arg !== '')
}

function baseName(path: string): string {
  const [program = ''] = path.split(' ', 1)
  return path.slice(program.lastIndexOf('/') + 1)
}

function readText(path: string): string | undefined {
  try {
    return process.getBuiltinModule('node:fs').readFileSync(path, 'utf8')
  } catch {
    return undefined // not Linux, /proc hidden, or not permitted
  }
}
