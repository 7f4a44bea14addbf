import { createServer, listen } from '../lib/app.js'

process.on('SIGTERM', () => process.exit(0))
listen(createServer())
