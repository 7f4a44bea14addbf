import { WebSocket } from 'ws'
import { now, type Outcome, type RunningClient } from './outcome.ts'

/** A WebSocket that is open when the shutdown begins; it must be closed with 1001. */
export function startWebSocket(port: number): RunningClient {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`)
  const sentAt = now()
  let detail = 'not opened'
  socket.on('error', (error) => void (detail = error.message))
  const ready = new Promise<void>((resolve) => {
    socket.once('open', () => resolve())
    socket.once('close', () => resolve())
  })
  const outcomes = new Promise<Outcome[]>((resolve) => {
    socket.once('close', (code) => {
      const how = code === 1001 ? 'closed' : 'lost'
      resolve([{ sentAt, endedAt: now(), how, detail: `${code} ${detail}`, idleMs: 0 }])
    })
  })
  return { ready, go: () => {}, outcomes }
}
