import assert from 'node:assert/strict'
import type { HookReport, ShutdownReport, StageName } from 'pid1'
import type { Ended, Run } from './run.ts'

/** The report that a fixture printed with `sayReport`. */
export function reportIn(ended: Ended): ShutdownReport {
  const json = /^report (.*)$/m.exec(ended.stdout)?.[1]
  assert.ok(json !== undefined, `No report:\n${ended.stdout}\n${ended.stderr}`)
  return JSON.parse(json) as ShutdownReport
}

/** It exited with this code, and was not ended by a signal. */
export function assertEnded(ended: Ended, code: number): void {
  const { signal, stdout, stderr } = ended
  assert.deepEqual({ code: ended.code, signal }, { code, signal: null }, `${stdout}\n${stderr}`)
}

/** It exited with 0, and printed nothing on stderr. */
export function assertStoppedWell(ended: Ended): void {
  assertEnded(ended, 0)
  assert.equal(ended.stderr, '')
}

/** Sends SIGTERM to a fixture that is ready. */
export async function stop(run: Run): Promise<Ended> {
  await run.line(/^ready$/m)
  run.signal('SIGTERM')
  return run.ended
}

/** The lines of this package on stderr. */
export function complaints(ended: Ended): string[] {
  return ended.stderr.match(/^pid1: .*/gm) ?? []
}

/** The entry of this hook in the report. */
export function hookReport(
  ended: Ended,
  name: string,
): { durationMs: number; error: { code?: string; message: string } } {
  const found = reportIn(ended)
    .stages.flatMap(({ hooks }) => hooks)
    .find((hook) => hook.name === name)
  assert.ok(found !== undefined, `No hook ${name} in the report`)
  return found as ReturnType<typeof hookReport>
}

/** The outcome of every hook, by its name. */
export function outcomes(ended: Ended): Record<string, string> {
  const hooks = reportIn(ended).stages.flatMap((stage) => stage.hooks)
  return Object.fromEntries(hooks.map(({ name, outcome }) => [name, outcome]))
}

/** The hooks of a stage in a report. */
export function hooksOf({ stages }: Pick<ShutdownReport, 'stages'>, stage: StageName): readonly HookReport[] {
  return stages.find(({ name }) => name === stage)?.hooks ?? []
}

/** The names of the servers that were drained. */
export function drainsIn(ended: Ended): string[] {
  return hooksOf(reportIn(ended), 'intake').map(({ name }) => name)
}
