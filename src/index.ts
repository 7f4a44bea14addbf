import { configure as ownConfigure } from './api/configure.ts'
import * as servers from './api/drain-on-shutdown.ts'
import { environment as ownEnvironment } from './api/environment.ts'
import { onExit as ownOnExit } from './api/on-exit.ts'
import { onShutdown as ownOnShutdown } from './api/on-shutdown.ts'
import { registerApp } from './api/register-app.ts'
import * as byHand from './api/shutdown-by-hand.ts'
import { superviseChild as ownSuperviseChild } from './api/supervise-child.ts'
import { waitUntil as ownWaitUntil } from './api/wait-until.ts'
import * as errors from './errors.ts'
import { ofFirstCopy } from './first-copy.ts'
import { isPid1 as ownIsPid1 } from './platform/this-process.ts'
import { rememberEarlySignals } from './signals/early-signals.ts'
import { watchNewListeners } from './signals/our-listeners.ts'
import { install } from './start/install.ts'

export type { DrainableServer } from './api/drain-on-shutdown.ts'
export type { Environment } from './api/environment.ts'
export type { Resource } from './api/on-shutdown.ts'
export type { ShutdownReason } from './api/shutdown-by-hand.ts'
export type { Pid1ErrorCode } from './errors.ts'
export type { ExitCallback } from './exit/exit-callbacks.ts'
export type { Hook, HookContext } from './hook.ts'
export type { ConfigureOptions, DrainOptions, HookOptions, SuperviseOptions } from './options.ts'
export type { ChildrenReport, ConnectionsReport, HookReport, ShutdownReport, StageReport } from './report.ts'
export type { HookStage, StageName } from './stages.ts'
export type { SupervisedChild } from './state.ts'
export type { Unregister } from './unregister.ts'

const api = ofFirstCopy(
  {
    onShutdown: ownOnShutdown,
    drainOnShutdown: servers.drainOnShutdown,
    undrain: servers.undrain,
    superviseChild: ownSuperviseChild,
    waitUntil: ownWaitUntil,
    onExit: ownOnExit,
    shutdown: byHand.shutdown,
    shutdownSignal: byHand.shutdownSignal,
    isShuttingDown: byHand.isShuttingDown,
    isPid1: ownIsPid1,
    environment: ownEnvironment,
    configure: ownConfigure,
    Pid1Error: errors.Pid1Error,
    registerApp,
  },
  () => {
    watchNewListeners()
    rememberEarlySignals(install)
  },
)

/**
 * Registers a hook: `onShutdown(hook, options)` or `onShutdown(name, hook, { stage, timeoutMs })`. Instead of a function it takes a
 * resource, which it disposes of: anything with `Symbol.asyncDispose` or `Symbol.dispose`. The hooks of a stage are started one
 * after the other, last registered first; those of `intake` all at once. A hook that hangs does not block the others.
 *
 * @returns a function that unregisters the hook
 * @throws Pid1Error PID1_INVALID_OPTION: the hook is neither a function nor a resource, or an option is invalid
 */
export const onShutdown: typeof ownOnShutdown = api.onShutdown

/**
 * Drains a server at the shutdown: new connections are refused, every request is answered, and every answer announces the close. Takes
 * an http, https or http2 server (Express's and Koa's `listen` return one) or a `ws` server, before or after `listen`. Calling it again
 * merges the options. A server that begins to listen later with the same request handler is drained with it, as one: Fastify's
 * `localhost` is two addresses.
 *
 * @returns the server
 * @throws Pid1Error PID1_INVALID_OPTION: the argument is not such a server, or an option is invalid
 */
export const drainOnShutdown: typeof servers.drainOnShutdown = api.drainOnShutdown

/**
 * Unregisters a server that `drainOnShutdown` was given: from then on `pid1` leaves the server alone. Does not affect a drain in
 * progress. It is harmless to call it twice, and for a server that is not registered.
 */
export const undrain: typeof servers.undrain = api.undrain

/**
 * Sets how a child process of the app is ended at the shutdown: with which signal (by default SIGTERM, after the cleanup hooks), in
 * which time, whether it is a sidecar that is ended last, and whether the service shuts down when it exits.
 *
 * @returns a function that unregisters the child; a child that has exited is unregistered by itself
 * @throws Pid1Error PID1_INVALID_OPTION: the argument is not a child process, or an option is invalid
 */
export const superviseChild: typeof ownSuperviseChild = api.superviseChild

/**
 * Work that goes on after the answer: the shutdown waits for the promise, after the requests, and names the work, with the line of code
 * that called this function, where it had to be cut (exit code 124). A rejection before a shutdown stays as unhandled as it was; during
 * one it is printed and makes the exit code 1.
 *
 * @returns the promise
 * @throws Pid1Error PID1_INVALID_OPTION: the work is not a promise, or the name is not a string
 */
export const waitUntil: typeof ownWaitUntil = api.waitUntil

/**
 * Registers a synchronous callback that runs as the process exits, with the exit code or the signal. It runs however the process ends,
 * except by SIGKILL and by the watchdog.
 *
 * @returns a function that unregisters the callback
 * @throws Pid1Error PID1_INVALID_OPTION: the callback is not a function
 */
export const onExit: typeof ownOnExit = api.onExit

/**
 * Starts the shutdown by hand. With an error the exit code is 1; `{ exitCode }` sets another one. During a shutdown the call adds its
 * error, and its exit code if none is set yet. Every caller gets the same promise. It never resolves, because the process ends; with
 * `configure({ exit: false })`, and in a worker thread, it resolves with the report. Inside a hook it resolves at once, with the report
 * so far.
 *
 * @throws Pid1Error PID1_INVALID_OPTION: the reason is invalid
 */
export const shutdown: typeof byHand.shutdown = api.shutdown

/**
 * A signal that is aborted the moment a shutdown starts, with an AbortError whose `cause` is the reason or the error. It is meant for
 * event streams, long polls and loops that should end then.
 */
export const shutdownSignal: typeof byHand.shutdownSignal = api.shutdownSignal

/** Whether a shutdown has started. */
export const isShuttingDown: typeof byHand.isShuttingDown = api.isShuttingDown

/** Whether this process is PID 1 of its container. PID 1 has no default signal actions: without a handler SIGTERM does nothing. */
export const isPid1: typeof ownIsPid1 = api.isPid1

/**
 * Where this process runs: whether it is PID 1, else the init's name; the container, the platform, the grace period in milliseconds, and
 * any problems with the setup.
 *
 * @throws Pid1Error PID1_INVALID_OPTION: `PID1_GRACE_PERIOD` is not a time with a unit
 */
export const environment: typeof ownEnvironment = api.environment

/**
 * Sets options. Repeated calls are merged. Does not affect a shutdown in progress.
 *
 * @throws Pid1Error PID1_INVALID_OPTION: an option is unknown or invalid
 */
export const configure: typeof ownConfigure = api.configure

/** The only error class of this package. `code` tells the kind of error, `message` what was expected and what was given. */
export const Pid1Error: typeof errors.Pid1Error = api.Pid1Error
export type Pid1Error = errors.Pid1Error
