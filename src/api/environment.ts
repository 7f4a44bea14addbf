import { native } from '../native.ts'
import { type GracePeriod, gracePeriod } from '../platform/choose-grace-period.ts'
import { nameOfInit, warningOfInit } from '../platform/init.ts'
import { findPlatform, has } from '../platform/platform-table.ts'
import { isPid1 } from '../platform/this-process.ts'
import { state } from '../state.ts'

/** Where this process runs. */
export interface Environment extends GracePeriod {
  readonly pid1: boolean
  /** The name of the process that is PID 1 (`tini`, `sh`, `npm`, `systemd` …); undefined if it is this process, or cannot be read. */
  readonly init: string | undefined
  readonly container: 'docker' | 'podman' | 'kubernetes' | undefined
  /** The detected platform, for instance `kubernetes` or `fly`. */
  readonly platform: string | undefined
  /** Whether the native part is loaded. The reaper and the watchdog need it. */
  readonly native: boolean
  /** Problems with signal handling in this environment, and how to solve them. */
  readonly warnings: readonly string[]
}

/** Where this process runs. Throws PID1_INVALID_OPTION if `PID1_GRACE_PERIOD` is not a time with a unit. */
export function environment(): Environment {
  const container = findContainer()
  const init = isPid1() ? undefined : nameOfInit()
  return {
    pid1: isPid1(),
    init,
    container,
    platform: findPlatform(process.env)?.name,
    ...gracePeriod(),
    native: native() !== undefined,
    warnings: listWarnings(),
  }
}

function findContainer(): Environment['container'] {
  if (has(process.env, 'KUBERNETES_SERVICE_HOST')) return 'kubernetes'
  if (process.env['container'] === 'podman' || exists('/run/.containerenv')) return 'podman'
  return exists('/.dockerenv') ? 'docker' : undefined
}

/** Problems with signal handling in this environment, and how to solve them. */
function listWarnings(): string[] {
  const warnings = []
  const aboutInit = isPid1() ? undefined : warningOfInit()
  if (aboutInit !== undefined) warnings.push(aboutInit)
  if (isPid1() && native() === undefined) {
    warnings.push('No native part: orphans are not reaped, and a blocked event loop or thread pool delays the exit')
  }
  // It is harmless to repeat this call of the native part, and the next one.
  const unarmed = native()?.makeTimer() ?? 0
  if (unarmed < 0) {
    warnings.push(
      `The watchdog cannot be armed (${errorName(unarmed)}), so a blocked event loop or thread pool delays the exit: ` +
        'allow the system call timer_create, and pending signals (ulimit -i)',
    )
  }
  const noSubreaper = state.options.reap === true && !isPid1() ? (native()?.becomeSubreaper() ?? 0) : 0
  if (noSubreaper < 0) {
    warnings.push(
      `Orphans are not reaped, because this process cannot become a subreaper (${errorName(noSubreaper)}): ` +
        'allow the system call prctl, or turn `reap` off',
    )
  }
  return warnings
}

function errorName(errno: number): string {
  return process.getBuiltinModule('node:util').getSystemErrorName(errno)
}

function exists(path: string): boolean {
  try {
    return process.getBuiltinModule('node:fs').existsSync(path)
  } catch {
    return false // not permitted (--permission)
  }
}
