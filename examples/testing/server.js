import { startApp } from './app.js'

console.log(`listening ${await startApp(process.env.PORT ?? 3000)}`)
