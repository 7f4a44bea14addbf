import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { superviseChild } from 'pid1'
import { record } from './events.js'

const scripts = {
  obedient: 'echo ready; exec sleep 1000',
  // An ignored signal stays ignored in the program that takes the shell's place.
  deaf: 'trap "" TERM INT USR1; echo ready; exec sleep 1000',
  // The shell exits, and PID 1 adopts what it started.
  orphan: 'sleep 1000 >/dev/null & echo $!; echo ready',
  zombie: 'sleep 0.05 >/dev/null & echo $!; echo ready',
}

export async function startChildren(children) {
  await Promise.all(children.map(startChild))
}

async function startChild({ kind, supervised }, index) {
  const child = spawn('sh', ['-c', scripts[kind]], { stdio: ['ignore', 'pipe', 'ignore'] })
  child.once('exit', (code, signal) => record('childExit', { index, code, signal }))
  let text = ''
  for await (const data of child.stdout) {
    text += data
    if (text.includes('ready')) break
  }
  const orphan = /^\d+/.exec(text)?.[0]
  if (orphan !== undefined && child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  record('child', { index, pid: Number(orphan ?? child.pid) })
  if (supervised !== undefined && orphan === undefined) superviseChild(child, supervised)
}
