// Apollo Server as its documentation starts it. It makes the http server itself, and listens to SIGTERM by default.
import { subscribe } from 'node:diagnostics_channel'
import { ApolloServer } from '@apollo/server'
import { startStandaloneServer } from '@apollo/server/standalone'
import { configure, drainOnShutdown, onShutdown } from '../../../dist/index.js'

configure(JSON.parse(process.argv[2] ?? '{}'))
subscribe('tracing:net.server.listen:asyncEnd', ({ server }) => drainOnShutdown(server))
const server = new ApolloServer({
  typeDefs: 'type Query { hello: String }',
  resolvers: {
    Query: { hello: () => new Promise((resolve) => void setTimeout(() => resolve('world'), 2)) },
  },
  csrfPrevention: false,
  plugins: [{ serverWillStart: async () => ({ serverWillStop: async () => console.log('apollo stops') }) }],
})
onShutdown('hook', () => console.log('hook'))
const { url } = await startStandaloneServer(server, { listen: { port: 0, host: '127.0.0.1' } })
console.log(`listening ${new URL(url).port}`)
