import assert from 'node:assert/strict'
import { answersIn, saysClose } from './helpers/answers.ts'
import { ask, dial, requestFor, waitUntilRefused } from './helpers/connection.ts'
import { startServer } from './helpers/http-server.ts'
import { assertEnded, assertStoppedWell } from './helpers/report.ts'
import { asChildAndPid1, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

asChildAndPid1('new connections are served for drainDelayMs after the signal', async (t, pid1) => {
  const { run, port } = await startServer(t, { pid1, drain: { drainDelayMs: 700, lingerMs: 3000 } })
  const poll = await dial(t, port)
  poll.send(requestFor('/poll?ms=0'))
  await run.line(/got/)
  run.signal('SIGTERM')
  await poll.received(/nothing new/) // so the shutdown has begun
  poll.end()
  const connection = await dial(t, port)
  await ask(connection)
  await waitUntilRefused(port)
  connection.send(requestFor('/'))
  const answers = answersIn((await connection.ended).text)
  assert.deepEqual(answers.map(saysClose), [false, true])
  const ended = await run.ended
  assertStoppedWell(ended)
  assertTook(ended.ms, { over: 650, under: 3000 })
})

for (const [name, options, env, wanted] of [
  ['', { drain: { drainDelayMs: 2500 } }, {}, 2500],
  [' with a part of the time reserved for afterDrain', { drain: { drainDelayMs: 2500 }, afterDrain: true }, {}, 2500],
  [' from Kubernetes, with PM2 in the pod,', {}, { KUBERNETES_SERVICE_HOST: '10.0.0.1', pm_id: '0' }, 5000],
] as const) {
  asChildAndPid1(
    `a drainDelayMs${name} for which there is no time is shortened, and one line says so`,
    async (t, pid1) => {
      const args = [JSON.stringify({ servers: ['http', 'http'], configure: { gracePeriodMs: 1000 }, ...options })]
      const run = start(t, 'servers/several.js', { pid1, env, args })
      await run.line(/ports/)
      run.signal('SIGTERM')
      const ended = await run.ended
      assertEnded(ended, 0)
      const got = Number(
        /^pid1: drainDelayMs is (\d+), but new connections are accepted for (\d+) ms only, because a grace period of 1000 ms leaves no more: set a longer one, on the platform and in PID1_GRACE_PERIOD, or a shorter drainDelayMs\n$/.exec(
          ended.stderr,
        )?.[2],
      )
      assert.ok(got > 200 && got < 400, ended.stderr)
      assert.equal(/is (\d+)/.exec(ended.stderr)?.[1], String(wanted))
      assertTook(ended.ms, { over: got - 20, under: 750 })
    },
  )
}
