import type { ChildProcess } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { sendSignal } from '../platform/processes.ts'
import { type Running, state } from '../state.ts'
import { setTimeout } from '../time/timers.ts'

/** The children that were started during each shutdown, and are ended without a wait. */
const lateBy = new WeakMap<Running, Set<ChildProcess>>()

/**
 * Ends a child that the app has started during a shutdown, and does not wait for it. Each such child is ended later than the one before,
 * so that an app that starts a new child for each that exits starts only a few. Those that are left are killed as the process exits.
 */
export function endLate(child: ChildProcess): void {
  const { running } = state
  if (running === undefined) return
  const late = lateIn(running)
  if (late.size === 0) process.once('exit', () => late.forEach((each) => endNow(each, 'SIGKILL')))
  const ms = Math.min(lateMs * 2 ** late.size, 60_000)
  late.add(child)
  setTimeout(() => endNow(child, 'SIGTERM'), ms).unref()
}

const lateMs = 5

function lateIn(running: Running): Set<ChildProcess> {
  const late = lateBy.get(running) ?? new Set<ChildProcess>()
  lateBy.set(running, late)
  return late
}

/** A supervisor in the app may start a new child for each that exits. Up to `count` of them are ended as all others are, and no more. */
export function limitNewChildren(count: number): () => void {
  let started = 0
  const onStart = (message: unknown) => {
    if (++started > count) endLate((message as { process: ChildProcess }).process)
  }
  subscribe('child_process', onStart)
  return () => void unsubscribe('child_process', onStart)
}

export function pidsOfLate(): number[] {
  const { running } = state
  return running === undefined ? [] : [...lateIn(running)].filter(isRunning).flatMap(({ pid }) => pid ?? [])
}

function endNow(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid !== undefined && isRunning(child)) sendSignal(child.pid, signal)
}

function isRunning({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null
}
