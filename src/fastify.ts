import type { Server } from 'node:http'
// Imported by the package's own name, so that the plugin and the app load one copy of index.ts.
import { type DrainOptions, drainOnShutdown, type HookContext } from 'pid1'

/** The parts of a Fastify instance that are needed here. */
export interface FastifyLike {
  readonly server: object
  close(): PromiseLike<unknown>
}

/** What the plugin takes: the options of `drainOnShutdown`. Fastify's own close follows `afterDrain`. */
export type Pid1FastifyOptions = DrainOptions

/**
 * A Fastify plugin: `await app.register(pid1)`. Drains the server, and calls `app.close()` when only WebSockets and event
 * streams are left, so that `preClose` and `onClose` hooks run within the deadline. An earlier call would lose requests, because
 * from `app.close()` on Fastify answers 503 and closes idle connections in bulk.
 *
 * @throws Pid1Error PID1_INVALID_OPTION: an option is unknown or invalid
 */
export default async function pid1(app: FastifyLike, options: Pid1FastifyOptions = {}): Promise<void> {
  const server = drainOnShutdown(app.server as Server, options)
  const { afterDrain } = options
  const afterDrainAndClose = async (context: HookContext) => {
    try {
      await afterDrain?.(context)
    } finally {
      await app.close()
    }
  }
  drainOnShutdown(server, { afterDrain: afterDrainAndClose })
}

// What `fastify-plugin` would set: the plugin is for the whole app, and has a name in Fastify's messages.
Object.assign(pid1, {
  [Symbol.for('skip-override')]: true,
  [Symbol.for('fastify.display-name')]: 'pid1',
})
