import { after } from 'next/server'
import { setTimeout as delay } from 'node:timers/promises'

export const dynamic = 'force-dynamic'

export async function GET() {
  after(async () => {
    await delay(300)
    console.log('answer noted')
  })
  await delay(2000)
  return new Response('hello\n')
}
