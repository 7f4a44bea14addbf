import assert from 'node:assert/strict'
import { setTimeout as wait } from 'node:timers/promises'
import { assertLastAnswer } from './helpers/answers.ts'
import { dial, postFor, requestFor, waitUntilRefused } from './helpers/connection.ts'
import { httpAndHttps, startServer } from './helpers/http-server.ts'
import { assertStoppedWell, reportIn } from './helpers/report.ts'
import { asChildAndPid1 } from './helpers/run.ts'
import { assertTook } from './helpers/time.ts'

for (const [name, tls] of httpAndHttps) {
  for (const checksContinue of [false, true]) {
    const how = `${name}${checksContinue ? ', of an app that answers Expect itself' : ''}`

    asChildAndPid1(`${how}: a body after 100 Continue is received`, async (t, pid1) => {
      const { run, port } = await startServer(t, { pid1, tls, checksContinue })
      const connection = await dial(t, port, { tls })
      connection.send(postFor('/upload', 8, 'Expect: 100-continue\r\n'))
      await connection.received(/^HTTP\/1\.1 100 Continue\r\n\r\n/)
      await run.line(/got/)
      run.signal('SIGTERM')
      await waitUntilRefused(port)
      connection.send('the body')
      await assertLastAnswer(connection, /answered 8/)
      assertStoppedWell(await run.ended)
    })

    asChildAndPid1(
      `${how}: Expect on a lingering connection is answered, and the body is received`,
      async (t, pid1) => {
        const { run, port } = await startServer(t, { pid1, tls, checksContinue, drain: { lingerMs: 3000 } })
        const connection = await dial(t, port, { tls })
        connection.send(requestFor('/'))
        await connection.received(/answered/)
        run.signal('SIGTERM')
        await waitUntilRefused(port)
        connection.send(postFor('/upload', 8, 'Expect: 100-continue\r\n'))
        await connection.received(/100 Continue\r\n\r\n/)
        connection.send('the body')
        await assertLastAnswer(connection, /answered 8/)
        assertStoppedWell(await run.ended)
      },
    )
  }

  asChildAndPid1(`${name}: a chunked upload is received up to its trailers`, async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, tls })
    const connection = await dial(t, port, { tls })
    const head = requestFor('/upload', { headers: 'Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n' })
    connection.send(`${head.replace('GET', 'POST')}4\r\nthe \r\n`)
    await run.line(/got/)
    run.signal('SIGTERM')
    await waitUntilRefused(port)
    connection.send('4\r\nbody\r\n0\r\nX-Sum: 8\r\n')
    await wait(50)
    connection.send('\r\n')
    await assertLastAnswer(connection, /answered 8/)
    assertStoppedWell(await run.ended)
  })

  asChildAndPid1(`${name}: an upload in progress is received to its end`, async (t, pid1) => {
    const { run, port } = await startServer(t, { pid1, tls })
    const connection = await dial(t, port, { tls })
    const chunk = 'x'.repeat(2 ** 17)
    connection.send(postFor('/upload', 16 * chunk.length))
    for (let sent = 0; sent < 16; sent++) {
      connection.send(chunk)
      await wait(30)
      if (sent === 4) await run.line(/got/).then(() => run.signal('SIGTERM'))
    }
    await assertLastAnswer(connection, new RegExp(`answered ${16 * chunk.length}`))
    const ended = await run.ended
    assertStoppedWell(ended)
    assert.deepEqual(reportIn(ended).connections, { drained: 1, ended: 0, cut: 0 })
  })

  asChildAndPid1(
    `${name}: an answer that does not wait for the body reaches a client that is still sending`,
    async (t, pid1) => {
      const { run, port } = await startServer(t, { pid1, tls, drain: { lingerMs: 3000 } })
      const connection = await dial(t, port, { tls })
      connection.send(requestFor('/'))
      await connection.received(/answered/)
      run.signal('SIGTERM')
      await waitUntilRefused(port)
      connection.send(postFor('/too-large', 2 ** 20))
      connection.send('x'.repeat(2 ** 16))
      await connection.received(/ 413 [^]*answered/)
      assertStoppedWell(await run.ended)
    },
  )

  // If the server ends such a connection before it has read everything, the kernel resets it and drops the rest of the answer.
  for (const [client, stays] of [
    ['a client that is still sending', false],
    ['a client that never stops sending', true],
  ] as const) {
    if (tls && stays) continue // it takes a second
    asChildAndPid1(`${name}: ${client} receives all of a long answer`, async (t, pid1) => {
      const { run, port } = await startServer(t, { pid1, tls })
      const connection = await dial(t, port, { tls, stays })
      connection.send(postFor('/too-large-and-long?ms=300', 2 ** 30))
      await run.line(/got/)
      const sending = setInterval(() => connection.send('x'.repeat(50_000)), 5)
      t.after(() => clearInterval(sending))
      run.signal('SIGTERM')
      const { text } = await connection.ended
      assert.match(text.slice(0, 100), / 413 /)
      assert.equal(text.length - text.indexOf('\r\n\r\n') - 4, 3 * 2 ** 20)
      const ended = await run.ended
      assertStoppedWell(ended)
      assert.equal(reportIn(ended).connections.cut, 0)
      assertTook(ended.ms, { under: 2900 })
    })
  }
}
