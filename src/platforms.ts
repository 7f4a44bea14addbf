type Variables = Readonly<Record<string, string | undefined>>

/** A platform, how a process knows that it is there, and how long it waits between the stop signal and SIGKILL. */
export interface Platform {
  readonly name: string
  readonly gracePeriodMs: (variables: Variables) => number
  readonly isHere: (variables: Variables) => boolean
}

/** The platforms' defaults, from their documentation. A service's own settings are not seen from inside. */
export const platforms: readonly Platform[] = [
  platform('knative', 300_000, (v) => has(v, 'K_SERVICE', 'K_REVISION', 'KUBERNETES_SERVICE_HOST')),
  platform('kubernetes', 30_000, (v) => has(v, 'KUBERNETES_SERVICE_HOST') && !has(v, 'K_SERVICE', 'K_REVISION')),
  platform('cloud-run', 10_000, (v) => has(v, 'K_SERVICE') && !has(v, 'KUBERNETES_SERVICE_HOST')),
  platform('ecs', 30_000, (v) => has(v, 'ECS_CONTAINER_METADATA_URI_V4')),
  platform('azure-container-apps', 30_000, (v) => has(v, 'CONTAINER_APP_NAME')),
  platform('azure-app-service', 5000, (v) => has(v, 'WEBSITE_SITE_NAME')),
  platform('fly', 5000, (v) => has(v, 'FLY_APP_NAME')),
  platform('heroku', 30_000, (v) => has(v, 'DYNO')),
  platform('render', 30_000, (v) => has(v, 'RENDER')),
  {
    name: 'railway',
    gracePeriodMs: (v) => 1000 * (Number(v['RAILWAY_DEPLOYMENT_DRAINING_SECONDS']) || 0),
    isHere: (v) => has(v, 'RAILWAY_PROJECT_ID'),
  },
  platform('nomad', 5000, (v) => has(v, 'NOMAD_ALLOC_ID')),
  platform('systemd', 90_000, (v) => has(v, 'INVOCATION_ID')),
  platform('pm2', 1600, (v) => has(v, 'pm_id')),
  platform('supervisord', 10_000, (v) => has(v, 'SUPERVISOR_ENABLED')),
  platform('lambda', 300, (v) => has(v, 'AWS_LAMBDA_FUNCTION_NAME')),
  platform('github-actions', 2500, (v) => has(v, 'GITHUB_ACTIONS')),
]

/** The platform that the variables tell of. Where two fit, the one that waits less: too short is safe, too long is not. */
export function findPlatform(variables: Variables): Platform | undefined {
  return platforms
    .filter(({ isHere }) => isHere(variables))
    .toSorted((a, b) => a.gracePeriodMs(variables) - b.gracePeriodMs(variables))[0]
}

function platform(name: string, gracePeriodMs: number, isHere: Platform['isHere']): Platform {
  return { name, gracePeriodMs: () => gracePeriodMs, isHere }
}

function has(variables: Variables, ...names: string[]): boolean {
  return names.every((name) => variables[name] !== undefined && variables[name] !== '')
}
