// Origins that do not answer, drip, stop, or break off: their requests wait or fail by themselves, and leave no socket behind.

import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, it } from 'vitest'
import { type Behaviour, FULL, type LoadBed, type Memory, report, startLoadBed, times } from './support/load-bed.ts'

const REQUESTS = FULL ? 1_000 : 150
const DRIP_MS = 50

const drip: Behaviour = (_request, response) => {
  const dripping = setInterval(() => response.write('x'), DRIP_MS)
  response.once('close', () => clearInterval(dripping))
}
const ORIGIN: Readonly<Record<string, Behaviour>> = {
  '/never': () => undefined,
  '/drip': drip,
  '/half': (_request, response) => {
    response.writeHead(200, { 'Content-Length': 10 })
    response.write('half', () => response.destroy())
  },
  '/silent-close': (request) => request.socket.end(),
  '/reset': (request) => request.socket.resetAndDestroy(),
  '/reset-half': (request, response) => {
    response.writeHead(200, { 'Content-Length': 10 })
    response.write('half', () => request.socket.resetAndDestroy())
  },
}

let bed: LoadBed
afterEach(() => bed?.close())

async function begun(): Promise<Memory> {
  bed = await startLoadBed({ origin: ORIGIN })
  await bed.servesOthers()
  return bed.memory()
}

it.each(['/never', '/drip'])(
  `[I12] ${REQUESTS} requests to an origin of the kind %s`,
  { timeout: 30_000 },
  async (path) => {
    const before = await begun()
    const waiting = await times(REQUESTS, async () => {
      const socket = await bed.open('127.0.0.2')
      socket.write(bed.request(path))
      return socket
    })
    await sleep(500)
    await bed.servesOthers()
    const during = await bed.memory()
    report({ path, bytesEach: (during.reachable - before.reachable) / REQUESTS })
    expect(during.sockets, 'sockets of both sides').toBeGreaterThanOrEqual(2 * REQUESTS)
    for (const socket of waiting) socket.destroy()
    await bed.servesOthers()
    await bed.recovers(before)
    const records = await bed.accounted()
    expect(records.filter(({ outcome }) => outcome === 'client_aborted')).toHaveLength(REQUESTS)
  },
)

it.each([
  ['/half', 200, 'upstream_aborted'],
  ['/reset-half', 200, 'upstream_aborted'],
  ['/silent-close', 502, 'failed'],
  ['/reset', 502, 'failed'],
])(`[I12] ${REQUESTS} requests to an origin of the kind %s`, { timeout: 30_000 }, async (path, status, outcome) => {
  const before = await begun()
  const answers = await times(REQUESTS, () => bed.ask(path), 32)
  // A broken answer has a status that was on the wire, or none where the reset overtook it.
  expect(new Set(answers.filter((answer) => answer !== 0))).toEqual(new Set([status]))
  await bed.servesOthers()
  await bed.recovers(before)
  const records = await bed.accounted()
  const ended = records.filter((record) => record['event'] === 'request.completed' && record['outcome'] !== 'completed')
  expect(ended).toHaveLength(REQUESTS)
  expect(new Set(ended.map((record) => record['outcome']))).toEqual(new Set([outcome]))
})
