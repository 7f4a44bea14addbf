import { defineEventHandler } from 'h3'
import { setTimeout as wait } from 'node:timers/promises'

export default defineEventHandler(() => wait(20, 'hello'))
