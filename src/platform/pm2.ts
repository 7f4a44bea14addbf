import { has } from './platform-table.ts'

/** Whether this process is PM2's own: its daemon, or one of its commands. */
export function isPm2(): boolean {
  return /[\\/]pm2[\\/](lib[\\/]Daemon\.js$|bin[\\/])/.test(process.argv[1] ?? '')
}

/** Whether PM2 itself has forked this cluster worker. PM2 does not exit after it, as another primary would. */
export function isWorkerOfPm2(): boolean {
  return has(process.env, 'pm_id') && process.env['exec_mode'] === 'cluster_mode'
}

/**
 * Calls back when PM2 sends the message "shutdown": at a soft reload in cluster mode, and instead of a signal if `shutdown_with_message`
 * or `PM2_KILL_USE_MESSAGE` is set.
 */
export function listenForShutdownMessage(onShutdownMessage: () => void): void {
  if (!has(process.env, 'pm_id') || !process.connected) return
  const { shutdown_with_message: withMessage, PM2_KILL_USE_MESSAGE: always } = process.env
  if (!isWorkerOfPm2() && withMessage !== 'true' && !always) return
  process.prependListener('message', (message) => {
    if (message === 'shutdown') onShutdownMessage()
  })
  releaseChannel()
}

/**
 * Lets the process exit when it has nothing left to do, although a listener for messages would keep it alive. Needs
 * `process.channel.unrefCounted()`; where it is missing, such an app runs until PM2 stops it.
 */
function releaseChannel(): void {
  const { channel } = process as { channel?: { unrefCounted?: () => void } }
  channel?.unrefCounted?.()
}
