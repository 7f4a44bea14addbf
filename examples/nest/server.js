import { drainOnShutdown, onShutdown } from 'pid1'
import 'reflect-metadata'
import { Controller, Get, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { setTimeout as delay } from 'node:timers/promises'

class AppController {
  hello() {
    return 'hello\n'
  }

  async slow() {
    await delay(2000)
    return 'hello\n'
  }
}

class AppModule {
  onModuleDestroy() {
    console.log('onModuleDestroy')
  }

  beforeApplicationShutdown() {
    console.log('beforeApplicationShutdown')
  }

  onApplicationShutdown() {
    console.log('onApplicationShutdown')
  }
}

// In TypeScript these are written as decorators: @Controller(), @Get('slow'), @Module({ … }).
Controller()(AppController)
route(Get(), 'hello')
route(Get('slow'), 'slow')
Module({ controllers: [AppController] })(AppModule)

function route(decorator, method) {
  decorator(AppController.prototype, method, Object.getOwnPropertyDescriptor(AppController.prototype, method))
}

const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] })
await app.listen(process.env.PORT ?? 3000)
drainOnShutdown(app.getHttpServer(), { afterDrain: ({ reason }) => app.close(reason) })
console.log(`listening ${app.getHttpServer().address().port}`)

onShutdown('database', async () => {
  await delay(100) // await pool.end()
  console.log('database closed')
})
