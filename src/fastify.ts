import type { Server } from 'node:http'
// By the package's own name: the bundle of index.ts is loaded once, whoever asks for it.
import { type DrainOptions, drainOnShutdown } from 'pid1'

/** The parts of a Fastify instance that are needed here. */
export interface FastifyLike {
  readonly server: object
  close(): PromiseLike<unknown>
}

/** What the plugin takes: `drainOnShutdown`'s options, but for `afterDrain`, which is Fastify's own close. */
export type Pid1FastifyOptions = Omit<DrainOptions, 'afterDrain'>

/**
 * A Fastify plugin: `await app.register(pid1)`. Drains the server, and calls `app.close()` when only WebSockets and event
 * streams are left, so that `preClose` and `onClose` hooks run within the deadline. Not sooner: from `app.close()` on
 * Fastify answers 503, and closes idle connections in bulk.
 *
 * @throws Pid1Error PID1_INVALID_OPTION: an option is unknown, or not what it should be
 */
export default async function pid1(app: FastifyLike, options: Pid1FastifyOptions = {}): Promise<void> {
  drainOnShutdown(app.server as Server, { ...options, afterDrain: () => app.close() })
}

// What `fastify-plugin` would set: the plugin is for the whole app, and has a name in Fastify's messages.
Object.assign(pid1, {
  [Symbol.for('skip-override')]: true,
  [Symbol.for('fastify.display-name')]: 'pid1',
})
