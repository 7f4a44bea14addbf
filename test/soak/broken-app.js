// The app of a soak, whose exit code is wrong.
import './app.js'

process.on('exit', () => process.reallyExit(3))
