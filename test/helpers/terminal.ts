import type { TestContext } from 'node:test'
import { type Ended, type Run, start } from './run.ts'

/** `script` gives what it starts a terminal of its own, and leaves with its code. `exec`: no shell in between. */
export function startOnTerminal(
  t: TestContext,
  command: readonly string[],
  env: NodeJS.ProcessEnv = {},
  cwd?: string,
): Run {
  const script = ['script', '--quiet', '--return', '--command', `exec ${command.join(' ')}`, '/dev/null']
  return start(t, '', { command: script, env, ...(cwd === undefined ? {} : { cwd }) })
}

export async function pressCtrlC(run: Run): Promise<Ended> {
  run.stdin.write('\u0003')
  return run.ended
}
