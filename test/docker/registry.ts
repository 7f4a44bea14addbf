import { execFile } from 'node:child_process'
import {
  cpSync,
  createReadStream,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/**
 * Gives the examples' Dockerfiles, unmodified, a `pid1` that is not published: in the lock file of the build context every package
 * gets an address on this machine. The server there has what npm has fetched with the configuration of this machine, so that
 * a build needs neither a registry nor certificates.
 */
export interface Registry {
  /** A copy of an example whose lock file leads to this machine. */
  makeContext(example: string): Promise<string>
  /** Arguments of `docker build`. */
  readonly buildArgs: readonly string[]
  close(): void
}

interface Lock {
  packages: Record<string, { version: string; resolved?: string; os?: readonly string[]; cpu?: readonly string[] }>
}

interface Packed {
  readonly name: string
  readonly version: string
  readonly filename: string
}

const execute = promisify(execFile)
const project = fileURLToPath(new URL('../../', import.meta.url))
const examples = fileURLToPath(new URL('../../examples/', import.meta.url))

export async function startRegistry(): Promise<Registry> {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'docker-test-'))
  const tarballs = join(folder, 'tarballs')
  mkdirSync(tarballs)
  const [own] = await pack(tarballs, project)
  if (own === undefined) throw new Error('Expected npm to pack the project')
  const server = await serve(tarballs)
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    async makeContext(example) {
      const context = mkdtempSync(join(folder, `${example}-`))
      cpSync(join(examples, example), context, { recursive: true, filter: (path) => basename(path) !== 'node_modules' })
      await redirect(context, tarballs, own, address)
      return context
    },
    // Without a proxy npm would try to reach the public registry for its audit.
    buildArgs: [`HTTPS_PROXY=${address}`, `HTTP_PROXY=${address}`, 'NO_PROXY=127.0.0.1'].flatMap((variable) => [
      '--build-arg',
      variable,
    ]),
    close() {
      server.close()
      server.closeAllConnections()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Every package that is needed on this platform gets an address on this machine. */
async function redirect(context: string, tarballs: string, own: Packed, address: string): Promise<void> {
  const file = join(context, 'package-lock.json')
  const { packages, ...rest } = JSON.parse(readFileSync(file, 'utf8')) as Lock
  const installed = Object.entries(packages).filter(([path]) => path !== '')
  const entries = installed.map(([path, entry]) => ({ name: path.split('node_modules/').at(-1), entry }))
  const foreign = entries.filter(({ name, entry }) => name !== own.name && isForHere(entry))
  const packed = [own, ...(await pack(tarballs, ...foreign.map(({ name, entry }) => `${name}@${entry.version}`)))]
  for (const { name, entry } of entries) {
    const tarball = packed.find((one) => one.name === name && one.version === entry.version)
    if (tarball !== undefined) entry.resolved = `${address}/${tarball.filename}`
    else if (isForHere(entry)) throw new Error(`Expected npm to pack ${name}@${entry.version}`)
  }
  writeFileSync(file, JSON.stringify({ ...rest, packages }, null, 2))
}

/** npm leaves out the optional packages of other platforms. */
function isForHere({ os = [process.platform], cpu = [process.arch] }: Lock['packages'][string]): boolean {
  return os.includes(process.platform) && cpu.includes(process.arch)
}

async function pack(tarballs: string, ...packages: readonly string[]): Promise<Packed[]> {
  if (packages.length === 0) return []
  return Object.values(JSON.parse(await npm(tarballs, 'pack', '--json', '--prefer-offline', ...packages)) as Packed[])
}

/** `--ignore-scripts`, because the project's own script would build it again while other tests use it. */
async function npm(cwd: string, ...args: readonly string[]): Promise<string> {
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', '--prefix', cwd]
  const { stdout } = await execute('npm', [...args, ...options], { cwd, maxBuffer: 2 ** 26 })
  return stdout
}

function serve(folder: string): Promise<ReturnType<typeof createServer>> {
  const server = createServer((request, response) => {
    createReadStream(join(folder, basename(request.url ?? '')))
      .on('error', () => response.writeHead(404).end())
      .pipe(response)
  })
  server.on('connect', (_request, socket) => socket.end('HTTP/1.1 403 Forbidden\r\n\r\n'))
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(server))
  })
}
