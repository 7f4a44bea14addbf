import { longestTimerMs } from '../options.ts'

type Variables = Readonly<Record<string, string | undefined>>

/** A platform, how to detect it, and how long it waits between the stop signal and SIGKILL. */
export interface Platform {
  readonly name: string
  readonly gracePeriodMs: (variables: Variables) => number
  /** How long the balancers of the platform go on sending new connections after the stop signal. Default: 0. */
  readonly drainDelayMs?: number
  readonly isHere: (variables: Variables) => boolean
}

/** The defaults of the platforms, from their documentation. Other settings of a service are not visible from inside. */
export const platforms: readonly Platform[] = [
  platform('knative', 300_000, (v) => has(v, 'K_SERVICE', 'K_REVISION', 'KUBERNETES_SERVICE_HOST')),
  {
    name: 'kubernetes',
    gracePeriodMs: () => 30_000,
    drainDelayMs: 5000,
    isHere: (v) => has(v, 'KUBERNETES_SERVICE_HOST') && !has(v, 'K_SERVICE', 'K_REVISION'),
  },
  platform('cloud-run', 10_000, (v) => has(v, 'K_SERVICE') && !has(v, 'KUBERNETES_SERVICE_HOST')),
  platform('ecs', 30_000, (v) => has(v, 'ECS_CONTAINER_METADATA_URI_V4')),
  platform('azure-container-apps', 30_000, (v) => has(v, 'CONTAINER_APP_NAME')),
  platform('azure-app-service', 5000, (v) => has(v, 'WEBSITE_SITE_NAME')),
  platform('fly', 5000, (v) => has(v, 'FLY_APP_NAME')),
  platform('heroku', 30_000, (v) => has(v, 'DYNO')),
  platform('render', 30_000, (v) => has(v, 'RENDER')),
  {
    name: 'railway',
    gracePeriodMs: (v) => timeOf(v['RAILWAY_DEPLOYMENT_DRAINING_SECONDS'], 1000) ?? 0,
    isHere: (v) => has(v, 'RAILWAY_PROJECT_ID'),
  },
  platform('nomad', 5000, (v) => has(v, 'NOMAD_ALLOC_ID')),
  // 90 s, but 45 s on Fedora. INVOCATION_ID is no mark, because every program of a desktop session inherits it.
  platform('systemd', 45_000, (v) => isMainProcess(v['SYSTEMD_EXEC_PID'])),
  { name: 'pm2', gracePeriodMs: (v) => timeOf(v['kill_timeout'], 1) ?? 1600, isHere: (v) => has(v, 'pm_id') },
  platform('supervisord', 10_000, (v) => has(v, 'SUPERVISOR_ENABLED')),
  platform('lambda', 300, (v) => has(v, 'AWS_LAMBDA_FUNCTION_NAME')),
  platform('github-actions', 2500, (v) => has(v, 'GITHUB_ACTIONS')),
]

/** The detected platform. If several match, the one with the shortest grace period: too short is safe, too long is not. */
export function findPlatform(variables: Variables): Platform | undefined {
  return platforms
    .filter(({ isHere }) => isHere(variables))
    .toSorted((a, b) => a.gracePeriodMs(variables) - b.gracePeriodMs(variables))[0]
}

/** The longest delay if several platforms match: the balancers of Kubernetes are as slow when PM2 runs in the pod. */
export function usualDrainDelayMs(variables: Variables): number {
  return Math.max(0, ...platforms.filter(({ isHere }) => isHere(variables)).map(({ drainDelayMs = 0 }) => drainDelayMs))
}

function platform(name: string, gracePeriodMs: number, isHere: Platform['isHere']): Platform {
  return { name, gracePeriodMs: () => gracePeriodMs, isHere }
}

/** Whether all these variables are set. An empty one counts as not set. */
export function has(variables: Variables, ...names: string[]): boolean {
  return names.every((name) => variables[name] !== undefined && variables[name] !== '')
}

/** A number of a platform as milliseconds that fit into a timer; undefined if it is not set, or not a time. */
function timeOf(number: string | undefined, unitMs: number): number | undefined {
  const value = number === undefined || number.trim() === '' ? NaN : Number(number) * unitMs
  return value >= 0 ? Math.min(value, longestTimerMs) : undefined
}

/** Whether it is this process, or the shell, npm or cluster primary in front of it. */
function isMainProcess(pid: string | undefined): boolean {
  return pid === String(process.pid) || pid === String(process.ppid)
}
