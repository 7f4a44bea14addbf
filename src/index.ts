import * as children from './children.ts'
import * as environment_ from './environment.ts'
import * as exit from './exit.ts'
import * as hooks from './hooks.ts'
import * as servers from './servers/drain-on-shutdown.ts'
import * as shutdown_ from './shutdown.ts'
import { noteEarlySignals } from './signals.ts'
import { ofFirstCopy } from './state.ts'

export type { Environment } from './environment.ts'
export { Pid1Error, type Pid1ErrorCode } from './errors.ts'
export type { ExitCallback } from './exit.ts'
export type { DrainOptions, HookOptions, HookStage, Options, StageName, SuperviseOptions } from './options.ts'
export type { ChildrenReport, ConnectionsReport, HookReport, ShutdownReport, StageReport } from './report.ts'
export type { ShutdownReason } from './shutdown.ts'
export type { Hook, HookContext, SupervisedChild, Unregister } from './state.ts'

const api = ofFirstCopy(
  {
    onShutdown: hooks.onShutdown,
    drainOnShutdown: servers.drainOnShutdown,
    superviseChild: children.superviseChild,
    onExit: exit.onExit,
    shutdown: shutdown_.shutdown,
    shutdownSignal: shutdown_.shutdownSignal,
    isShuttingDown: shutdown_.isShuttingDown,
    isPid1: environment_.isPid1,
    environment: environment_.environment,
    configure: shutdown_.configure,
  },
  noteEarlySignals,
)

/**
 * Registers a hook: `onShutdown(hook)` or `onShutdown(name, hook, { stage, timeoutMs })`. Hooks of a stage are started one
 * after the other, last registered first (those of `intake` all at once); one that hangs costs the others nothing.
 *
 * @returns its undo
 * @throws Pid1Error PID1_INVALID_OPTION: the hook is not a function, or an option is not what it should be
 */
export const onShutdown: typeof hooks.onShutdown = api.onShutdown

/**
 * Drains an http, https or http2 server (what Express's and Koa's `listen` return), or a `ws` server, at the shutdown: new
 * connections are refused, every request is answered, every client told. Before or after `listen`; twice is once.
 *
 * @returns the server
 * @throws Pid1Error PID1_INVALID_OPTION: it is not such a server, or an option is not what it should be
 */
export const drainOnShutdown: typeof servers.drainOnShutdown = api.drainOnShutdown

/**
 * Says how a child that the app has started is ended at the shutdown (by default with SIGTERM, after the cleanup hooks): its
 * signal, its time, whether it is a sidecar that goes last, and whether its own end ends the service too.
 *
 * @returns its undo; a child that has ended is forgotten
 * @throws Pid1Error PID1_INVALID_OPTION: it is not a child process, or an option is not what it should be
 */
export const superviseChild: typeof children.superviseChild = api.superviseChild

/**
 * Registers synchronous last words: called with the exit code, or the signal, however the process ends (SIGKILL and the
 * watchdog apart).
 *
 * @returns its undo
 * @throws Pid1Error PID1_INVALID_OPTION: the callback is not a function
 */
export const onExit: typeof exit.onExit = api.onExit

/**
 * Starts the shutdown by hand. An error, or `{ exitCode }`, decides the exit code. Every caller gets the same promise. It
 * never resolves, as the process ends; with `configure({ exit: false })`, and in a worker thread, it resolves with the
 * report. Inside a hook it resolves at once, with the report so far.
 *
 * @throws Pid1Error PID1_INVALID_OPTION: the reason is not what it should be
 */
export const shutdown: typeof shutdown_.shutdown = api.shutdown

/** Aborted the moment a shutdown starts: for event streams, long polls and loops that should end then. */
export const shutdownSignal: typeof shutdown_.shutdownSignal = api.shutdownSignal

/** Has a shutdown started? */
export const isShuttingDown: typeof shutdown_.isShuttingDown = api.isShuttingDown

/** Is this process PID 1 of its container? PID 1 has no default signal actions: without a handler SIGTERM does nothing. */
export const isPid1: typeof environment_.isPid1 = api.isPid1

/**
 * Where this process runs: PID 1 or which init, container, platform, grace period (milliseconds), and what is wrong there.
 *
 * @throws Pid1Error PID1_INVALID_OPTION: `PID1_GRACE_PERIOD` cannot be understood
 */
export const environment: typeof environment_.environment = api.environment

/**
 * Sets options; called again it adds to them. It has no effect on a shutdown that runs.
 *
 * @throws Pid1Error PID1_INVALID_OPTION: an option is unknown, or not what it should be
 */
export const configure: typeof shutdown_.configure = api.configure
