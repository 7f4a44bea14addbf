import { keepReaping } from '../children/reaper.ts'
import { debug } from '../log.ts'
import { checkOptions, type ConfigureOptions, isDisabled } from '../options.ts'
import { deferAllOthers } from '../signals/our-listeners.ts'
import { listenForConfiguredSignals } from '../signals/stop-signals.ts'
import { prepareWatchdog } from '../signals/watchdog.ts'
import { install } from '../start/install.ts'
import { state } from '../state.ts'

export function configure(options: ConfigureOptions): void {
  const given = checkOptions(options)
  if (isDisabled()) return
  if (state.running !== undefined) return debug('shutdown', 'configure() does not change a shutdown under way')
  state.options = { ...state.options, ...given }
  install()
  listenForConfiguredSignals()
  deferAllOthers()
  prepareWatchdog()
  keepReaping()
}
