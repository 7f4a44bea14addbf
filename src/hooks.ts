import { AsyncLocalStorage } from 'node:async_hooks'
import pTimeout from 'p-timeout'
import { hasDescendants } from './children.ts'
import { endOfStage, toEpoch, waitAtMost, withResolvers } from './deadline.ts'
import { Pid1Error } from './errors.ts'
import { complain, complainOf, note } from './log.ts'
import { checkHookOptions, expectThat, type HookOptions, isDisabled, type StageName, stageNames } from './options.ts'
import {
  type Hook,
  type HookContext,
  noteRegistration,
  type RegisteredHook,
  type Running,
  type RunningStage,
  state,
  undo,
  type Unregister,
} from './state.ts'
import { tellStep } from './watchdog.ts'

export function onShutdown(hook: Hook): Unregister
export function onShutdown(name: string, hook: Hook, options?: HookOptions): Unregister
export function onShutdown(first: string | Hook, second?: Hook, options: HookOptions = {}): Unregister {
  const hook = typeof first === 'function' ? first : second
  expectThat(typeof first === 'function' || typeof first === 'string', 'the name of the hook', 'a string', first)
  expectThat(typeof hook === 'function', 'the hook', 'a function', hook)
  checkHookOptions(options)
  const name = typeof first === 'string' ? first : hook.name || 'anonymous hook'
  return registerHook({ ...options, name, hook, stage: options.stage ?? 'cleanup' })
}

/** A hook that comes after the start runs too: in its stage, or where that is over in the one that is going on. */
export function registerHook(registered: RegisteredHook): Unregister {
  if (isDisabled()) return undo(() => {})
  noteRegistration()
  const current = state.running?.stages.at(-1)
  const inTime =
    current === undefined || stageNames.indexOf(registered.stage) >= stageNames.indexOf(current.name)
      ? registered
      : { ...registered, stage: current.name }
  state.hooks.add(inTime)
  current?.wake()
  return undo(() => state.hooks.delete(inTime))
}

/** Is this code called from a hook? Then it must not wait for the shutdown that waits for it. */
export function isInsideHook(): boolean {
  return insideHook.getStore() === true
}

/** Runs code of the app so that `isInsideHook` knows it again, whatever it awaits. */
export function runInsideHook(code: () => unknown): Promise<unknown> {
  return insideHook.run(true, async () => code())
}

/** Is there a hook that waits for this stage, or a process that it would have to end? */
export function hasWork(stage: StageName): boolean {
  return waitingFor(stage).length > 0 || ((stage === 'children' || stage === 'sidecars') && hasDescendants(stage))
}

/** Runs all hooks of a stage at once. */
export async function runTogether(stage: RunningStage, running: Running): Promise<void> {
  await runHooks(stage, running, () => 0)
}

/**
 * Runs the hooks of a stage one after the other, last registered first. One that has used its equal share of what the
 * stage has left is not cut: the next one starts beside it. So a hanging hook costs the others nothing.
 */
export async function runInTurn(stage: RunningStage, running: Running): Promise<void> {
  await runHooks(stage, running, (leftMs, waiting) => leftMs / waiting)
}

const insideHook = new AsyncLocalStorage<true>()

async function runHooks(
  stage: RunningStage,
  running: Running,
  shareOf: (leftMs: number, waiting: number) => number,
): Promise<void> {
  const active = new Set<Promise<void>>()
  let registered = withResolvers<void>()
  const start = (hook: RegisteredHook, endsAt: number) => {
    state.hooks.delete(hook)
    const run = runHook(hook, stage, running, endsAt).finally(() => active.delete(run))
    active.add(run)
    return run
  }
  stage.wake = () => {
    // A server that begins to listen now must not accept while it waits for its turn.
    const servers = waitingFor(stage.name).filter(({ endsItself }) => endsItself)
    for (const server of servers) void start(server, endOfStage(running.clock, stage.name, hasWork))
    registered.resolve()
  }
  for (;;) {
    const hook = waitingFor(stage.name).at(-1)
    if (hook === undefined) {
      if (active.size === 0) return
      await Promise.race([...active, registered.promise])
      registered = withResolvers()
      continue
    }
    const endsAt = endOfStage(running.clock, stage.name, hasWork)
    const shareMs = shareOf(endsAt - performance.now(), waitingFor(stage.name).length)
    const run = start(hook, endsAt)
    if (shareMs > 0) await waitAtMost(shareMs, [run])
  }
}

function waitingFor(stage: StageName): RegisteredHook[] {
  return [...state.hooks].filter((hook) => hook.stage === stage)
}

/** Runs one hook in its time. Never rejects: what went wrong is in the report, and on stderr. */
async function runHook(
  registered: RegisteredHook,
  stage: RunningStage,
  running: Running,
  stageEndsAt: number,
): Promise<void> {
  const { name, hook, endsItself = false, timeoutMs = Infinity } = registered
  const startedAt = performance.now()
  // p-timeout refuses 0; with a grace period of 0 a hook is still started, and what it does at once is done.
  const milliseconds = Math.max(1, Math.min(timeoutMs, stageEndsAt - startedAt))
  const timeout = new Pid1Error('PID1_HOOK_TIMEOUT', `was cut after ${Math.round(milliseconds)} ms`)
  const controller = new AbortController()
  const context = contextOf(running, controller.signal, startedAt + milliseconds)
  const report: RunningStage['hooks'][number] = { name, outcome: 'running', durationMs: 0 }
  stage.hooks.push(report)
  tellStep(stage)
  try {
    if (endsItself) await hook(context)
    else
      await pTimeout(
        runInsideHook(() => hook(context)),
        { milliseconds, message: timeout },
      )
    report.outcome = 'done'
  } catch (error) {
    report.outcome = error === timeout || (endsItself && isTimeout(error)) ? 'cut' : 'failed'
    report.error = error
    controller.abort(error)
    complainOfHook(report, endsItself)
  }
  report.durationMs = performance.now() - startedAt
  tellStep(stage)
  note('hooks', '%s %s after %d ms', name, report.outcome, Math.round(report.durationMs))
}

function contextOf(running: Running, signal: AbortSignal, endsAt: number): HookContext {
  return {
    reason: running.cause.reason,
    signal,
    deadline: toEpoch(endsAt),
    remainingMs: () => Math.max(0, endsAt - performance.now()),
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof Pid1Error && error.code === 'PID1_HOOK_TIMEOUT'
}

function complainOfHook({ name, outcome, error }: RunningStage['hooks'][number], endsItself: boolean): void {
  const what = endsItself ? name : `the hook "${name}"`
  if (outcome === 'cut' && error instanceof Error) complain(`${what} ${error.message}`)
  else complainOf(`${what} failed`, error)
}
