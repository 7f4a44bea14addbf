// The plugin that `fastify start` loads.
import pid1 from '../../../dist/fastify.js'

export default async function app(fastify, _options) {
  await fastify.register(pid1)
  fastify.get('/', async () => {
    console.log('got')
    await new Promise((resolve) => void setTimeout(resolve, 1200))
    return 'answered'
  })
  fastify.addHook('onListen', async () => console.log(`listening ${fastify.server.address().port}`))
  fastify.addHook('onClose', async () => console.log('app closed'))
}
