import { spawn } from 'node:child_process'
import { createServer } from 'node:http'
import { drainOnShutdown } from 'pid1'
import { listen } from './app.js'

// A shell that leaves orphans: its subshells exit before the processes that they have started.
const script = 'i=0; while [ $i -lt "$1" ]; do (sleep 0.1 &); i=$((i + 1)); done'

const server = createServer(({ url }, response) => {
  spawn('sh', ['-c', script, 'sh', url.slice(1)], { stdio: 'ignore' }).on('exit', (code) => response.end(String(code)))
})
if (process.env.PID1_DISABLE === '1') process.on('SIGTERM', () => process.exit(0))
drainOnShutdown(server)
listen(server)
