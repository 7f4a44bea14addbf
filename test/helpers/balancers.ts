import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

/** The supported load balancers, by the name of their program. */
export type BalancerName = 'nginx' | 'haproxy'

/** Why a balancer cannot be used here; undefined where it can. */
export function whyNoBalancer(name: BalancerName): string | undefined {
  const { error } = spawnSync(name, ['-v'])
  return error === undefined ? undefined : `${name} is not installed (Debian: apt-get install nginx-light haproxy)`
}

/** Starts a balancer on a port, in front of instances on others, and waits until it answers. */
export async function startBalancer(
  name: BalancerName,
  port: number,
  instances: readonly number[],
): Promise<{ stop(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), `${name}-`))
  const file = join(folder, 'configuration')
  const { configuration, options } = balancers[name]
  writeFileSync(file, configuration(port, instances))
  const child = spawn(name, options(folder, file), { stdio: ['ignore', 'ignore', 'pipe'] })
  const killIt = () => void child.kill('SIGKILL')
  process.once('exit', killIt)
  let said = ''
  child.stderr.on('data', (data: Buffer) => (said += String(data)))
  const exited = new Promise<void>((resolve) => void child.once('exit', () => resolve()))
  await untilAnswers(child, port, () => said)
  const stop = async () => {
    child.kill('SIGTERM')
    await exited
    process.off('exit', killIt)
    rmSync(folder, { recursive: true, force: true })
  }
  return { stop }
}

/**
 * The settings for keep-alive to the instances are those of their documentation, everything else is a default: a POST that was sent is
 * not sent again. `fail_timeout` and `inter` are short, so that an instance that is back is soon used again.
 */
const balancers = {
  nginx: {
    options: (folder: string, file: string) => ['-p', folder, '-c', file, '-e', 'stderr'],
    configuration: (port: number, instances: readonly number[]) => `
      daemon off;
      worker_processes 1;
      pid nginx.pid;
      events { worker_connections 4096; }
      http {
        access_log off;
        ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((what) => `${what}_temp_path ${what};`).join(' ')}
        upstream instances {
          ${instances.map((instance) => `server 127.0.0.1:${instance} max_fails=1 fail_timeout=1s;`).join(' ')}
          keepalive 64;
        }
        server {
          listen 127.0.0.1:${port};
          location / {
            proxy_pass http://instances;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
          }
        }
      }`,
  },
  haproxy: {
    options: (_folder: string, file: string) => ['-db', '-f', file],
    configuration: (port: number, instances: readonly number[]) => `
global
  maxconn 4096
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  option redispatch
frontend front
  bind 127.0.0.1:${port}
  default_backend instances
backend instances
  balance roundrobin
${instances.map((at, index) => `  server instance${index} 127.0.0.1:${at} check inter 200ms fall 1 rise 1`).join('\n')}
`,
  },
}

async function untilAnswers(child: ChildProcess, port: number, said: () => string): Promise<void> {
  const until = performance.now() + 5000
  while ((await statusOf(port)) !== 200) {
    const isOver = performance.now() > until || child.exitCode !== null
    if (isOver) throw new Error(`The balancer does not answer on port ${port}: ${said()}`)
    await wait(20)
  }
}

function statusOf(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const asking = request({ port, host: '127.0.0.1', agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
    asking.on('error', () => resolve(undefined))
    asking.end()
  })
}
