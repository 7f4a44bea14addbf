import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startClients as startClientsFor } from '../../test/helpers/load.ts'
import { start } from '../../test/helpers/run.ts'

const kills = new Set()
/** A process that is started for this one is killed when this one exits: PID 1 without a handler ignores even Ctrl-C. */
export const untilExit = { after: (kill) => kills.add(kill) }
process.on('exit', () => kills.forEach((kill) => kill()))
process.on('SIGINT', () => process.exit(130))
process.on('SIGTERM', () => process.exit(143))

/**
 * Starts a server file and waits until it has printed `listening PORT`.
 * `stop` sends SIGTERM, and after `killAfterMs` SIGKILL, as a container engine does.
 */
export async function startServer(file, { pid1, env = {}, args = [], wrapper = [], inside = [] }) {
  const run = startHere([...wrapper, process.execPath, file, ...args], { pid1, env, inside })
  const port = await run.port()
  const { pid } = run
  return { port, pid, said: run.line, stop: (killAfterMs) => stop(run, pid, killAfterMs) }
}

/** Starts clients that have had one answer, and keep their connections. */
export async function startIdleClients({ port, clients }) {
  const file = fileURLToPath(new URL('idle-clients.js', import.meta.url))
  const run = startHere([process.execPath, file, String(port), String(clients)])
  await run.line(/ready/)
  const since = performance.now()
  return {
    idleFor: (ms) => delay(Math.max(0, ms - (performance.now() - since))),
    stop: () => {
      run.stdin.end()
      return run.ended
    },
  }
}

/** Starts the clients of the tests, and waits until each has had an answer. */
export function startClients({ port, ...load }, inside = []) {
  return startClientsFor(untilExit, port, load, { inside })
}

/** Runs a file to its end and returns the JSON line that it printed. */
export async function runForJson(file, args) {
  const { code, stdout, stderr } = await startHere([process.execPath, file, ...args]).ended
  if (code !== 0) throw new Error(`${file} ${args.join(' ')} ended with ${code}: ${stderr}`)
  return JSON.parse(stdout)
}

/** Without a time limit: a measurement may take long. */
function startHere(command, options = {}) {
  return start(untilExit, '', { command, cwd: process.cwd(), limitMs: Infinity, ...options })
}

async function stop(run, pid, killAfterMs) {
  const sentAt = Date.now()
  run.signal('SIGTERM')
  let killed = false
  const timer = setTimeout(() => {
    killed = tryToKill(pid)
  }, killAfterMs)
  const { code, signal, exitedAfterMs, stdout, stderr } = await run.ended
  clearTimeout(timer)
  // If the process was killed, unshare exits with a code of its own.
  return { code: killed ? 137 : (code ?? signal), killed, ms: exitedAfterMs, sentAt, stdout, stderr }
}

/** Returns false if the process has already exited, which Node may not know yet. */
function tryToKill(pid) {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch {
    return false
  }
}
