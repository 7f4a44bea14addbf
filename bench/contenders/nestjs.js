import 'reflect-metadata'
import { Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { answer, cleanUp, host, port, ready } from '../lib/app.js'

class AppModule {
  async onApplicationShutdown() {
    await cleanUp()
  }
}
Module({})(AppModule)

const app = await NestFactory.create(AppModule, { logger: false, bodyParser: false })
app.enableShutdownHooks()
app.use(answer)
await app.listen(port, host)
await ready(app.getHttpServer())
