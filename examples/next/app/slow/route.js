import { setTimeout as delay } from 'node:timers/promises'

export const dynamic = 'force-dynamic'

export async function GET() {
  await delay(2000)
  return new Response('hello\n')
}
