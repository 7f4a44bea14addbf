import { execFile } from 'node:child_process'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort } from '../helpers/ports.ts'

/** How a container was stopped. */
export interface Stopped {
  readonly code: number
  /** How long `docker stop` took. */
  readonly ms: number
  /** When the container's process had exited, as epoch milliseconds. */
  readonly finishedAt: number
  readonly logs: string
}

export interface Container {
  readonly port: number
  /** `docker exec`. Resolves with the output of the command. */
  exec(...command: readonly string[]): Promise<string>
  /** `docker stop` without `-t`, so with Docker's default of ten seconds. */
  stop(): Promise<Stopped>
}

export interface BuildOptions {
  readonly context: string
  readonly dockerfile?: string
  readonly args?: readonly string[]
}

const execute = promisify(execFile)
const baseImage = 'node:24-slim'
const images: string[] = []

/** Says in one line what is missing on this machine; undefined if nothing is. */
export async function whatIsMissing(): Promise<string | undefined> {
  const host = process.env['DOCKER_HOST'] ?? 'the default socket'
  const wishes = [
    ['the command `docker`', ['--version']],
    [`a container engine that answers at ${host}`, ['version']],
    [`the image ${baseImage}`, ['image', 'inspect', baseImage]],
  ] as const
  for (const [what, command] of wishes) {
    const there = await docker(...command).then(
      () => true,
      () => false,
    )
    if (!there)
      return `Missing: ${what}. As root on Debian, \`.ci/engine.sh npm run test:docker\` brings it for one run`
  }
  return undefined
}

/** Builds an image that lives until `removeImages`, and returns its name. */
export async function buildImage(name: string, { context, dockerfile, args = [] }: BuildOptions): Promise<string> {
  const image = `pid1-test-${process.pid}-${name}`
  const file = dockerfile === undefined ? [] : ['--file', `${context}/${dockerfile}`]
  await docker('build', '--network', 'host', '--tag', image, ...file, ...args, context)
  images.push(image)
  return image
}

export async function removeImages(): Promise<void> {
  if (images.length > 0) await docker('image', 'rm', '--force', ...images)
}

/** `docker run` with a free port of this machine in `PORT`. Resolves when the container's log has the ready line. */
export async function startContainer(
  t: TestContext,
  image: string,
  ready: RegExp,
  options: readonly string[] = [],
  command: readonly string[] = [],
): Promise<Container> {
  const port = await freePort()
  // The engine of the CI run has no bridge.
  const network = ['--network', 'host', '--env', `PORT=${port}`]
  const id = (await docker('run', '--detach', ...network, ...options, image, ...command)).trim()
  t.after(() => docker('rm', '--force', id))
  await logLine(id, ready)
  return { port, exec: (...inside) => docker('exec', id, ...inside), stop: () => stop(id) }
}

async function stop(id: string): Promise<Stopped> {
  const since = performance.now()
  await docker('stop', id)
  const ms = performance.now() - since
  const state = JSON.parse(await docker('inspect', '--format', '{{json .State}}', id)) as {
    ExitCode: number
    FinishedAt: string
  }
  return { code: state.ExitCode, ms, finishedAt: Date.parse(state.FinishedAt), logs: await docker('logs', id) }
}

async function logLine(id: string, pattern: RegExp): Promise<void> {
  const end = performance.now() + 60_000
  for (;;) {
    const logs = await docker('logs', id)
    if (pattern.test(logs)) return
    const running = (await docker('inspect', '--format', '{{.State.Running}}', id)).trim()
    if (running !== 'true' || performance.now() > end) {
      throw new Error(`Expected ${String(pattern)} in the container's log (running: ${running}), got:\n${logs}`)
    }
    await delay(20)
  }
}

/** Resolves with the output of the command. The log of a container includes its stderr. */
async function docker(...command: readonly string[]): Promise<string> {
  const { stdout, stderr } = await execute('docker', command, { maxBuffer: 2 ** 26, timeout: 240_000 })
  return command[0] === 'logs' ? stdout + stderr : stdout
}
