import { closeMs, type Facts } from './facts.ts'
import type { Outcome } from './outcome.ts'
import type { Client } from './scenario.ts'

/** No request that had time is lost. A request that was cut is counted, and the exit code is 124. */
export function checkClients(facts: Facts): void {
  const { scenario, seen, report } = facts
  let cut = 0
  let unclear = 0
  const served = scenario.servers.length === 0 ? [] : scenario.clients
  for (const [index, client] of served.entries()) {
    for (const outcome of seen.clients[index] ?? []) {
      const verdict = judge(facts, client, outcome)
      // Of several requests that were pipelined before the shutdown, Node shows only the first and the last one.
      const isHidden = client.kind === 'pipelining' && outcome === seen.clients[index]?.[1]
      // An upload that takes longer than the time is its client's fault if none of it arrived at the end.
      if (verdict === 'cut' && (isHidden || client.kind === 'upload')) unclear++
      else if (verdict === 'cut') cut++
      if (verdict === 'unclear') unclear++
      if (verdict === 'broken') {
        const { how, detail, sentAt, endedAt, idleMs } = outcome
        const times = `sent ${at(facts, sentAt)}, over ${at(facts, endedAt)}, idle before for ${Math.round(idleMs)} ms`
        facts.break('no request lost', `client ${index} (${client.kind}): ${how}, ${detail}; ${times}`)
      }
    }
  }
  if (report === undefined || facts.forcedBy !== undefined) return
  const counted = report.connections.cut
  const isLongLived = ({ kind }: Client) => kind === 'eventStream' || kind === 'webSocket'
  const told = served.filter((client, index) => {
    const last = seen.clients[index]?.at(-1)
    return isLongLived(client) && last?.how === 'closed' && last.endedAt >= facts.begunAt
  })
  // These include half requests, and connections that were still open at the deadline.
  const { ended } = report.connections
  if (ended < told.length || ended > served.length) {
    facts.break('connections are counted', `${ended} ended in the report, and ${told.length} to ${served.length} were`)
  }
  if (counted < cut || counted > cut + unclear) {
    facts.break(
      'requests are counted',
      `${counted} cut in the report, ${cut} to ${cut + unclear} as seen by the clients`,
    )
  }
}

type Verdict = 'good' | 'cut' | 'unclear' | 'broken'

function judge(facts: Facts, client: Client, outcome: Outcome): Verdict {
  const { scenario, begunAt, seen } = facts
  const { how, sentAt, idleMs } = outcome
  if (how === 'answered' || how === 'closed') return 'good'
  if (client.kind === 'new' && how === 'refused') return 'good'
  if (facts.forcedBy !== undefined) return 'unclear'
  if (client.kind === 'idle' || client.kind === 'half') return how === 'lost' ? 'unclear' : 'good'
  // Long-lived connections are asked to end in time, unless the loop was blocked when that was due.
  if (client.kind === 'eventStream' || client.kind === 'webSocket') {
    const endlessMs = scenario.options.endlessMs ?? scenario.options.lingerMs ?? 1000
    // It was cut after that, when a busy machine had not let the client read yet that it is open.
    const isCut = outcome.detail.endsWith('not opened') && outcome.endedAt - begunAt > endlessMs
    return endlessMs < closeMs || isCut || facts.blockedMs(begunAt, facts.deadline) > 0 ? 'unclear' : 'broken'
  }
  // It was refused in a way that lets the client try again, so it is not counted.
  if (how === 'unavailable' && !outcome.detail.startsWith('503') && scenario.servers[client.server]?.kind === 'http2')
    return 'unclear'
  const mayBeRefused = how === 'unavailable' && scenario.options.whileDraining === 'refuse'
  if (mayBeRefused && hadNoTime(facts, sentAt, client.ms)) return 'unclear'
  // A connection that arrives when no time is left is counted too.
  if (sentAt > begunAt && hadNoTime(facts, sentAt, client.ms)) return 'unclear'
  if (hadNoTime(facts, sentAt, client.ms)) return 'cut'
  if (hadNoTime(facts, sentAt, client.ms + 150)) return 'unclear'
  if (how === 'unavailable') {
    // A request that was sent before is refused too if a blocked loop has kept the server from reading it.
    const isRefused = scenario.options.whileDraining === 'refuse' && facts.freeAt(sentAt) > begunAt - closeMs
    return isRefused ? 'good' : 'broken'
  }
  // A request on a connection that was idle for longer than the linger may cross the FIN on the wire.
  if (idleMs > (scenario.options.lingerMs ?? 1000) - closeMs) return 'unclear'
  if (client.kind === 'new' && (!scenario.addons || sentAt > seen.endedAt - 100)) return 'unclear'
  return 'broken'
}

/** Whether it could not be answered within the intake stage. The time in which the loop was blocked counts too. */
function hadNoTime(facts: Facts, sentAt: number, ms: number): boolean {
  const { begunAt, deadline, wholeMs } = facts
  const intakeEnd = deadline - wholeMs * 0.5 // 20 % for cleanup, three times 10 %, as far as they have something to do
  const due = sentAt + ms + facts.blockedMs(Math.min(sentAt, begunAt), deadline)
  return due > intakeEnd
}

const at = (facts: Facts, time: number): string => `${Math.round(time - facts.begunAt)} ms`
