import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { text as readAll } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import { assertAnswered } from './helpers/answers.ts'
import { dial, requestFor } from './helpers/connection.ts'
import { assertStoppedWell, drainsIn, reportIn } from './helpers/report.ts'
import { asChildAndPid1, start } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

asChildAndPid1('a server that the app itself has closed is not drained', async (t, pid1) => {
  const run = start(t, 'servers/closed-earlier.js', { pid1 })
  const port = await run.port()
  run.signal('SIGTERM')
  const ended = await run.ended
  assertStoppedWell(ended)
  assert.deepEqual(drainsIn(ended), [`the server on port ${port}`])
})

for (const [way, said] of [
  ['in its own handler', ['well']],
  ['in an intake hook', ['well']],
  ['in an intake hook, twice', ['well', 'well']],
  ['in a cleanup hook', ['well']],
  ['in a cleanup hook, twice', ['well', 'well']],
  ['in a cleanup hook, without a callback', []],
  ['in a cleanup hook, by promisify', ['well']],
  ['in an intake hook, by asyncDispose', ['well']],
  ['in a cleanup hook, by asyncDispose', ['well']],
  ['in afterDrain', ['well']],
  ['when it is closed', ['well']],
  ['in a cleanup hook, that never listened', ['ERR_SERVER_NOT_RUNNING']],
  ['in a cleanup hook, that it had closed', ['ERR_SERVER_NOT_RUNNING']],
  ['with all connections, in a hook', ['well']],
  ['with all connections, in a cleanup hook', ['well']],
] as const) {
  asChildAndPid1(`a server that the app closes too, ${way}, answers the request in flight`, async (t, pid1) => {
    const run = start(t, 'servers/app-closes.js', { pid1, args: [JSON.stringify({ way })] })
    const port = await run.port()
    const connection = await dial(t, port)
    connection.send(requestFor('/slow?ms=400'))
    await run.line(/got/)
    run.signal('SIGTERM')
    assertAnswered((await connection.ended).text, 'answered')
    const ended = await run.ended
    assertStoppedWell(ended)
    assertTook(ended.ms, { under: 1300 })
    assert.deepEqual(ended.stdout.match(/(?<=^closed: ).*/gm) ?? [], said)
    assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
  })
}

for (const [way, hook, said] of [
  ['in its own handler, and exits', false, /^$/],
  ['in its own handler, by asyncDispose, and exits', false, /^$/],
  ['in its own handler, and exits at the event', false, /^$/],
  [
    'in its own handler, and exits',
    true,
    /^pid1: process\.exit\(0\) was called .*; not finished: "some work"\. Remove the call, [^\n]*\n$/,
  ],
] as const) {
  asChildAndPid1(
    `a server that the app closes ${way}: clients have their answers by then, ${hook ? 'a hook has not run' : 'no hook is left'}`,
    async (t, pid1) => {
      const run = start(t, 'servers/app-closes.js', { pid1, args: [JSON.stringify({ way, hook })] })
      const socket = connect(await run.port(), '127.0.0.1')
      t.after(() => socket.destroy())
      socket.write(requestFor('/large?bytes=1000000&ms=300'))
      await run.line(/got/)
      run.signal('SIGTERM')
      // The client does not read yet, so that the answer waits in the kernel when the server has closed.
      await wait(600)
      assert.ok((await readAll(socket)).endsWith('x'.repeat(1_000_000)))
      const ended = await run.ended
      assert.equal(ended.code, 0)
      assert.match(ended.stderr, said)
    },
  )
}
