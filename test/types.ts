// The public types. The compiler is the test: `npm run typecheck`.
import { type ChildProcess, spawn } from 'node:child_process'
import { createServer, type IncomingMessage } from 'node:http'
import { createSecureServer, createServer as createHttp2Server, type Http2ServerRequest } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { createServer as createNetServer } from 'node:net'
import { serve } from '@hono/node-server'
import { expectTypeOf } from 'expect-type'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import Koa from 'koa'
import * as pid1 from 'pid1'
import type {
  ConfigureOptions,
  DrainableServer,
  DrainOptions,
  Environment,
  ExitCallback,
  Hook,
  HookContext,
  HookOptions,
  HookReport,
  HookStage,
  Pid1ErrorCode,
  ShutdownReason,
  ShutdownReport,
  StageName,
  StageReport,
  SupervisedChild,
  SuperviseOptions,
  Unregister,
} from 'pid1'
import plugin, { type Pid1FastifyOptions } from 'pid1/fastify'
import { Server as SocketIoServer } from 'socket.io'
import { WebSocketServer } from 'ws'

expectTypeOf<keyof typeof pid1>().toEqualTypeOf<
  | 'Pid1Error'
  | 'configure'
  | 'drainOnShutdown'
  | 'environment'
  | 'isPid1'
  | 'isShuttingDown'
  | 'onExit'
  | 'onShutdown'
  | 'shutdown'
  | 'shutdownSignal'
  | 'superviseChild'
  | 'undrain'
  | 'waitUntil'
>()

// onShutdown
expectTypeOf(pid1.onShutdown(() => {})).toEqualTypeOf<Unregister>()
expectTypeOf(pid1.onShutdown('name', async () => {}, { stage: 'flush', timeoutMs: 100 })).toEqualTypeOf<Unregister>()
pid1.onShutdown((context) => expectTypeOf(context).toEqualTypeOf<HookContext>(), { stage: undefined })
expectTypeOf<HookContext['signal']>().toEqualTypeOf<AbortSignal>()
expectTypeOf<HookContext['error']>().toEqualTypeOf<unknown>()
expectTypeOf<ReturnType<HookContext['remainingMs']>>().toEqualTypeOf<number>()
expectTypeOf<Hook>().returns.toEqualTypeOf<unknown>()
expectTypeOf<HookStage>().toEqualTypeOf<'announce' | 'intake' | 'cleanup' | 'flush'>()
expectTypeOf<StageName>().toEqualTypeOf<HookStage | 'children' | 'sidecars'>()
expectTypeOf<HookOptions['stage']>().toEqualTypeOf<HookStage | undefined>()
expectTypeOf<Unregister>().toExtend<() => void>()
expectTypeOf<Unregister>().toExtend<Disposable>()
// @ts-expect-error: a hook cannot be registered for this stage
pid1.onShutdown(() => {}, { stage: 'children' })
// @ts-expect-error: the option has a unit in its name
pid1.onShutdown(() => {}, { timeout: 100 })
// @ts-expect-error: the hook is missing
pid1.onShutdown('name')

// drainOnShutdown: the types of every server that it drains, and of some that it does not
const handler = () => {}
const http = createServer(handler)
expectTypeOf(pid1.drainOnShutdown(http)).toEqualTypeOf<typeof http>()
pid1.drainOnShutdown(createHttpsServer(handler))
pid1.drainOnShutdown(createHttp2Server())
pid1.drainOnShutdown(createSecureServer({ allowHTTP1: true }))
pid1.drainOnShutdown(express().listen(0), { lingerMs: 0, afterDrain: async () => {} })
pid1.drainOnShutdown(new Koa().listen(0))
pid1.drainOnShutdown(serve({ fetch: new Hono().fetch }))
pid1.drainOnShutdown(fastify().server)
expectTypeOf(pid1.drainOnShutdown(new WebSocketServer({ noServer: true }))).toEqualTypeOf<WebSocketServer>()
pid1.drainOnShutdown(new SocketIoServer(3000))
expectTypeOf(pid1.undrain).toEqualTypeOf<(server: DrainableServer) => void>()
// @ts-expect-error: the app, not the server that its `listen()` returns
pid1.drainOnShutdown(express())
// @ts-expect-error: the app, not the server that its `listen()` returns
pid1.drainOnShutdown(new Koa())
// @ts-expect-error: the app, not its `server`
pid1.drainOnShutdown(fastify())
// @ts-expect-error: the app, not what `serve()` returns
pid1.drainOnShutdown(new Hono())
pid1.drainOnShutdown(createNetServer(), { goodbye: (socket) => socket.end('BYE\r\n') })
// @ts-expect-error: a port
pid1.drainOnShutdown(3000)
expectTypeOf<Parameters<NonNullable<DrainOptions['isEndless']>>>().toEqualTypeOf<
  [request: IncomingMessage | Http2ServerRequest]
>()
pid1.drainOnShutdown(http, { isEndless: ({ url }) => url?.startsWith('/watch') })
pid1.drainOnShutdown(http, { whileDraining: 'refuse', endlessMs: 1, drainDelayMs: undefined })
// @ts-expect-error: no such answer
pid1.drainOnShutdown(http, { whileDraining: 'ignore' })

// superviseChild
const child = spawn('true')
expectTypeOf<ChildProcess>().toExtend<SupervisedChild>()
expectTypeOf(pid1.superviseChild(child, { signal: 'SIGINT', sidecar: true })).toEqualTypeOf<Unregister>()
expectTypeOf<SuperviseOptions['forward']>().toEqualTypeOf<readonly NodeJS.Signals[] | undefined>()
// @ts-expect-error: no such signal
pid1.superviseChild(child, { signal: 'TERM' })

// onExit
expectTypeOf(pid1.onExit(() => {})).toEqualTypeOf<Unregister>()
expectTypeOf<ExitCallback>().parameters.toEqualTypeOf<[code: number | null, signal: NodeJS.Signals | null]>()

// shutdown
expectTypeOf(pid1.shutdown).toEqualTypeOf<(reason?: ShutdownReason) => Promise<ShutdownReport>>()
expectTypeOf(pid1.shutdownSignal).toEqualTypeOf<() => AbortSignal>()
expectTypeOf(pid1.isShuttingDown).toEqualTypeOf<() => boolean>()
void pid1.shutdown('a reason')
void pid1.shutdown(new Error('failed'))
void pid1.shutdown({ reason: 'done', exitCode: 3 })
const maybe: { reason?: string; exitCode?: number } = {}
void pid1.shutdown({ reason: maybe.reason, exitCode: maybe.exitCode })
// @ts-expect-error: the code belongs into an object
void pid1.shutdown(3)
expectTypeOf<ShutdownReport['stages']>().toEqualTypeOf<readonly StageReport[]>()
expectTypeOf<StageReport['hooks']>().toEqualTypeOf<readonly HookReport[]>()
expectTypeOf<HookReport['outcome']>().toEqualTypeOf<'done' | 'failed' | 'cut' | 'running'>()

// environment, configure and the error
expectTypeOf(pid1.isPid1).toEqualTypeOf<() => boolean>()
expectTypeOf(pid1.environment).toEqualTypeOf<() => Environment>()
expectTypeOf<Environment['gracePeriodSource']>().toEqualTypeOf<'configure' | 'environment' | 'platform' | 'default'>()
expectTypeOf(pid1.configure).toEqualTypeOf<(options: ConfigureOptions) => void>()
pid1.configure({ exit: false, signals: ['SIGUSR2'], gracePeriodMs: undefined, onReport: ({ exitCode }) => exitCode })
// @ts-expect-error: an unknown option
pid1.configure({ gracePeriod: 1000 })
// @ts-expect-error: a number of milliseconds
pid1.configure({ gracePeriodMs: '10s' })
expectTypeOf<Pid1ErrorCode>().toEqualTypeOf<'PID1_INVALID_OPTION' | 'PID1_HOOK_TIMEOUT'>()
expectTypeOf(new pid1.Pid1Error('PID1_INVALID_OPTION', '')).toExtend<Error>()

// pid1/fastify
expectTypeOf<Pid1FastifyOptions>().toEqualTypeOf<DrainOptions>()
void fastify().register(plugin, { lingerMs: 0 })
void fastify().register(plugin)
