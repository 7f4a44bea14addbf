import type { TestContext } from 'node:test'
import { childrenOf } from './proc.ts'
import { type Ended, type Run, start } from './run.ts'

/** `script` gives the command a terminal of its own, and exits with its code. `exec` removes the shell in between. */
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

/** The process on the terminal, below `script` and `unshare`, which have one child each. */
export function pidOnTerminal({ pid }: Pick<Run, 'pid'>): number {
  const [child] = childrenOf(pid)
  return child === undefined ? pid : pidOnTerminal({ pid: child })
}

/** A timer would be late on a busy machine, and the test is about the exact gap. */
export function blockFor(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}
