// A service that makes each answer with a browser. Puppeteer closes the browser when it hears SIGTERM.
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { launch } from 'puppeteer-core'
import { configure, drainOnShutdown, onShutdown } from '../../../dist/index.js'

configure(JSON.parse(process.argv[2] ?? '{}'))
const executablePath = fileURLToPath(new URL('stand-in-browser.js', import.meta.url))
const browser = await launch({ executablePath, args: [], waitForInitialPage: false })
browser.on('disconnected', () => console.log('browser closed'))
const server = createServer((_request, response) => void answer(response))
drainOnShutdown(server)
onShutdown('hook', () => console.log(`hook, connected: ${browser.connected}`))
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`))

async function answer(response) {
  console.log('got')
  try {
    await new Promise((resolve) => void setTimeout(resolve, 600))
    response.end(await browser.version())
  } catch (error) {
    response.writeHead(500).end(String(error))
  }
}
