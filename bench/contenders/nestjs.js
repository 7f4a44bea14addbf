import 'reflect-metadata'
import { Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { answer, certificate, cleanUp, host, keepAliveMs, port, serve } from '../lib/app.js'

class AppModule {
  async onApplicationShutdown() {
    await cleanUp()
  }
}
Module({})(AppModule)

const https = process.env.BENCH_SERVER === 'https' ? { httpsOptions: certificate() } : {}
const app = await NestFactory.create(AppModule, { logger: false, bodyParser: false, ...https })
app.enableShutdownHooks()
app.use(answer)
await app.listen(port, host)
if (keepAliveMs !== undefined) app.getHttpServer().keepAliveTimeout = keepAliveMs
await serve(app.getHttpServer())
