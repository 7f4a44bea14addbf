import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const forOrdinaryUsers = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user']
/** The wrapper that makes what follows root, of a user namespace where it is not root already. */
export const asRoot = ['unshare', ...forOrdinaryUsers]
const unshare = [...asRoot, '--pid', '--fork', '--kill-child', '--mount-proc']

/** Why no process can be made PID 1 here, or undefined where it can. */
export function whyNoPid1() {
  const tried = spawnSync(unshare[0], [...unshare.slice(1), 'true'], { encoding: 'utf8' })
  return tried.status === 0 ? undefined : (tried.error?.message ?? tried.stderr.trim())
}

/**
 * Starts a server file and waits until it printed `listening PORT`.
 * `stop` sends SIGTERM, and SIGKILL when `killAfterMs` have passed, as a container engine does.
 */
export async function startServer(file, { pid1, env = {}, args = [], wrapper = [], inside = [] }) {
  const command = [...wrapper, process.execPath, file, ...args]
  const argv = [...inside, ...(pid1 ? unshare : []), ...command]
  const child = spawnOurs(argv, { env: environment(env), stdio: ['ignore', 'pipe', 'pipe'] })
  const running = follow(child)
  const [, port] = await running.said(/^listening (\d+)$/m)
  const pid = pid1 ? onlyChildOf(child.pid) : child.pid
  return { port: Number(port), pid, said: running.said, stop: (killAfterMs) => stop(child, pid, running, killAfterMs) }
}

/** Starts clients that have asked once, and keep their connections. */
export async function startIdleClients({ port, clients }) {
  const file = fileURLToPath(new URL('idle-clients.js', import.meta.url))
  const child = spawnOurs([process.execPath, file, String(port), String(clients)], {
    env: environment({}),
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const { said, exited } = follow(child)
  await said(/ready/)
  const since = performance.now()
  return {
    idleFor: (ms) => delay(Math.max(0, ms - (performance.now() - since))),
    stop: () => {
      child.stdin.end()
      return exited
    },
  }
}

/** Starts the clients of the tests, and waits until every one is at work. */
export async function startClients(options, inside = []) {
  const name = options.streams === undefined ? 'clients.js' : 'http2-clients.js'
  const file = fileURLToPath(new URL(`../../test/helpers/${name}`, import.meta.url))
  const child = spawnOurs([...inside, process.execPath, file, JSON.stringify(options)], {
    env: environment({}),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const first = await lines.next()
  if (first.value !== 'ready') throw new Error(`Expected \`ready\` from the clients, got ${first.value}`)
  return { counted: lines.next().then(({ value }) => JSON.parse(value)) }
}

/** Runs a file to its end and returns the JSON line it printed. */
export async function runForJson(file, args, env = {}) {
  const child = spawnOurs([process.execPath, file, ...args], {
    env: environment(env),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let out = ''
  child.stdout.on('data', (data) => (out += data))
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`${file} ${args.join(' ')} ended with ${code}`)
  return JSON.parse(out)
}

async function stop(child, pid, running, killAfterMs) {
  const sentAt = Date.now()
  const since = performance.now()
  process.kill(pid, 'SIGTERM')
  let killed = false
  const timer = setTimeout(() => {
    killed = tryToKill(pid)
  }, killAfterMs)
  const { code, signal, at } = await running.exited
  clearTimeout(timer)
  const { stdout, stderr } = await running.closed
  // Of a killed process, unshare gives a code of its own.
  return { code: killed ? 137 : (code ?? signal), killed, ms: at - since, sentAt, stdout, stderr }
}

const saidWithinMs = 60_000

/** False where it has gone in the meantime, and nobody has told us yet. */
function tryToKill(pid) {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch {
    return false
  }
}

function follow(child) {
  let stdout = ''
  let stderr = ''
  child.stderr.on('data', (data) => {
    // unshare's own words when it is told to pass a SIGKILL on.
    stderr += String(data).replace('unshare: sigprocmask unblock failed: Invalid argument\n', '')
  })
  const exited = once(child, 'exit').then(([code, signal]) => ({ code, signal, at: performance.now() }))
  const closed = once(child, 'close').then(() => ({ stdout, stderr }))
  const said = (pattern) =>
    new Promise((resolve, reject) => {
      const look = () => {
        const found = pattern.exec(stdout)
        if (found !== null) resolve(found)
      }
      const fail = (how) => reject(new Error(`It ${how} without ${pattern}.\n${stdout}${stderr}`))
      closed.then(() => fail('ended'), reject)
      setTimeout(() => fail(`ran for ${saidWithinMs / 1000} s`), saidWithinMs).unref()
      child.stdout.on('data', look)
      look()
    })
  child.stdout.on('data', (data) => (stdout += data))
  return { said, exited, closed }
}

const ours = new Set()

// Nothing that was started here outlives us: a PID 1 without a handler does not even hear Ctrl-C.
process.on('exit', () => ours.forEach((child) => child.kill('SIGKILL')))
process.on('SIGINT', () => process.exit(130))
process.on('SIGTERM', () => process.exit(143))

export function spawnOurs([command, ...args], options) {
  const child = spawn(command, args, options)
  ours.add(child)
  child.on('exit', () => ours.delete(child))
  return child
}

/** No platform's marker and no DEBUG of the shell that measures may change what is measured. */
function environment(more) {
  const kept = ['PATH', 'HOME', 'LANG', 'TMPDIR']
  return { ...Object.fromEntries(kept.map((key) => [key, process.env[key]])), ...more }
}

function onlyChildOf(pid) {
  const children = childrenOf(pid)
  if (children.length !== 1) throw new Error(`Expected one child of ${pid}, got "${children.join()}"`)
  return children[0]
}

export function childrenOf(pid) {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
}

/** Resident memory, in KiB. */
export function residentOf(pid) {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}
