import { type ClientHttp2Session, connect } from 'node:http2'
import { setTimeout as wait } from 'node:timers/promises'
import { now, type Outcome, type RunningClient } from './outcome.ts'
import type { Client } from './scenario.ts'

/** A session with one stream after the other, with three at once, with a stream that never ends, or without a stream. */
export function startHttp2Client({ kind, ms, thinkMs }: Client, port: number): RunningClient {
  const outcomes: Outcome[] = []
  let go = () => {}
  const started = new Promise<void>((resolve) => void (go = resolve))
  let isReady = () => {}
  const ready = new Promise<void>((resolve) => void (isReady = resolve))
  const done = play()
  return { ready, go, outcomes: done.then(() => outcomes).finally(isReady) }

  async function play(): Promise<void> {
    if (kind === 'new') {
      isReady()
      await started
      await wait(ms)
    }
    const sentAt = now()
    const session = connect(`http://127.0.0.1:${port}`)
    let error = ''
    const told = { toLeave: false }
    session.on('goaway', () => void (told.toLeave = true))
    const closed = new Promise<void>((resolve) => void session.once('close', () => resolve()))
    const made = new Promise<boolean>((resolve) => {
      session.once('connect', () => resolve(true))
      session.once('error', (cause: NodeJS.ErrnoException) => {
        error = cause.code ?? cause.message
        resolve(false)
      })
      session.once('close', () => resolve(false))
    })
    if (!(await made)) {
      const how = error === 'ECONNREFUSED' ? 'refused' : 'lost'
      outcomes.push({ sentAt, endedAt: now(), how, detail: error, idleMs: 0 })
      return
    }
    let lastUse = now()
    switch (kind) {
      case 'blocking':
        isReady() // asks when the shutdown has begun
        await started
        await ask(session, `/?block=${ms}`, now() - lastUse)
        break
      case 'kept':
        while (!told.toLeave && !session.closed && !session.destroyed) {
          await ask(session, `/?ms=${ms}`, now() - lastUse)
          isReady()
          lastUse = now()
          await wait(thinkMs)
          await new Promise((resolve) => void setImmediate(resolve))
        }
        break
      case 'idle':
      case 'half':
        setTimeout(isReady, 30)
        await closed
        break
      default: {
        const path = kind === 'eventStream' ? '/events' : `/?ms=${kind === 'new' ? 0 : ms}`
        setTimeout(isReady, 30)
        await Promise.all((kind === 'pipelining' ? [1, 2, 3] : [1]).map(() => ask(session, path, 0)))
      }
    }
    if (!session.destroyed) session.close()
    await closed
  }

  /** A stream is lost if it got neither an answer nor a refusal after which the client may send it again. */
  function ask(session: ClientHttp2Session, path: string, idleMs: number): Promise<void> {
    return new Promise((resolve) => {
      const sentAt = now()
      let status = 0
      let isEnded = false
      let lastStream = Infinity
      if (session.closed || session.destroyed) return resolve() // nothing can be sent, so nothing is lost
      const onGoAway = (_code: number, last: number) => void (lastStream = last)
      session.once('goaway', onGoAway)
      const stream = session.request({ ':path': path })
      stream.on('response', (headers) => void (status = Number(headers[':status'])))
      stream.on('end', () => void (isEnded = status !== 0 && stream.rstCode === 0))
      let error = ''
      stream.on('error', (cause: NodeJS.ErrnoException) => void (error = cause.code ?? cause.message))
      stream.on('close', () => {
        session.off('goaway', onGoAway)
        const isRefused = stream.rstCode === 7 || (stream.id ?? Infinity) > lastStream
        const answered = status === 503 ? 'unavailable' : path === '/events' ? 'closed' : 'answered'
        const how = isEnded ? answered : isRefused ? 'unavailable' : 'lost'
        outcomes.push({ sentAt, endedAt: now(), how, detail: `${status} ${stream.rstCode} ${error}`, idleMs })
        resolve()
      })
      stream.resume()
      stream.end()
    })
  }
}
