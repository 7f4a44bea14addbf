import { type Load, startClients } from './load.ts'
import { type Ended, type Lifetime, type RunOptions, start } from './run.ts'

interface Stopped {
  readonly ended: Ended
  readonly lost: number
  /** How many answers there were, by their status. */
  readonly statuses: Readonly<Record<string, number>>
}

interface BusyOptions extends RunOptions {
  /** SIGKILL comes this long after the signal: a bare app often never ends. */
  readonly killAfterMs?: number
  /** For an app that does not print `listening PORT`: its port, and what it prints instead. */
  readonly listens?: { readonly port: number; readonly saying: RegExp }
}

/** Stops an app that has printed its port, with a grace period of 4 s, while 200 clients are busy. */
export async function stopBusy(t: Lifetime, name: string, options: BusyOptions, load: Load = {}): Promise<Stopped> {
  const { killAfterMs, listens } = options
  const run = start(t, name, { ...options, env: { PID1_GRACE_PERIOD: '4s', ...options.env } })
  if (listens !== undefined) await run.line(listens.saying)
  const port = listens?.port ?? (await run.port())
  const clients = await startClients(t, port, { clients: 200, thinkMs: 5, ...load })
  run.signal('SIGTERM')
  const kill = () => {
    clients.stop()
    run.signal('SIGKILL')
  }
  const timer = killAfterMs === undefined ? undefined : setTimeout(kill, killAfterMs)
  const ended = await run.ended
  clearTimeout(timer)
  const { lost, statuses } = await clients.counted
  return { ended, lost, statuses }
}
