// Connections by the thousand that come and go, and one source that wants them all: the others get theirs.

import { afterEach, describe, expect, it } from 'vitest'
import { anonymous, FULL, type LoadBed, MIB, P99_ALLOWED_MS, report, startLoadBed, times } from './support/load-bed.ts'

const COME_AND_GO = FULL ? 5_000 : 800
/** Of one source at once. */
const PER_SOURCE = 2_048
const GREEDY = 2_100

let bed: LoadBed
afterEach(() => bed?.close())

describe(`${COME_AND_GO} connections that`, () => {
  it.each<[string, string | null, 'destroy' | 'resetAndDestroy', number]>([
    ['close at once', null, 'destroy', 0],
    ['are reset at once', null, 'resetAndDestroy', 0],
    ['send half a head and are reset', 'GET http', 'resetAndDestroy', 1],
    ['ask and are reset', '/asked', 'resetAndDestroy', 1],
  ])('[I15] %s', { timeout: 30_000 }, async (_name, sent, leave, attempts) => {
    bed = await startLoadBed()
    await bed.servesOthers()
    const before = await bed.memory()
    const resident = anonymous(bed.proxy.pid)
    await bed.lateness()
    await times(COME_AND_GO, async () => {
      const socket = await bed.open('127.0.0.2')
      const bytes = sent === '/asked' ? bed.request(sent) : sent
      if (bytes !== null) await new Promise<void>((resolve) => socket.write(bytes, () => resolve()))
      socket[leave]()
    })
    const { p99Ms, maxMs } = await bed.lateness()
    report({ p99Ms, maxMs, grown: (anonymous(bed.proxy.pid) - resident) / MIB })
    expect(p99Ms).toBeLessThan(P99_ALLOWED_MS)
    await bed.servesOthers()
    await bed.recovers(before)
    const decided = (await bed.accounted()).filter(
      (record) => record['event'] === 'request.decided' && record['path'] !== '/honest',
    )
    // A reset may overtake what was sent before it: then nothing was read, and nothing was attempted.
    expect(decided.length).toBeLessThanOrEqual(COME_AND_GO * attempts)
    expect(decided.length).toBeGreaterThanOrEqual((COME_AND_GO * attempts) / 2)
  })
})

it(`[I15] ${GREEDY} requests of one source that are never answered: the next source has its upstream connections`, {
  timeout: 30_000,
}, async () => {
  bed = await startLoadBed({ origin: { '/never': () => undefined } })
  await bed.servesOthers()
  const before = await bed.memory()
  const greedy = await times(GREEDY, async () => {
    const socket = await bed.open('127.0.0.2')
    socket.write(bed.request('/never'))
    return socket
  })
  await bed.servesOthers()
  report({ sockets: (await bed.memory()).sockets, resident: anonymous(bed.proxy.pid) / MIB })
  for (const socket of greedy) socket.destroy()
  await bed.servesOthers()
  await bed.recovers(before)
  const records = await bed.accounted()
  const refused = records.filter((record) => record['reason'] === 'overloaded')
  // The connections over the bound, and no request of anybody.
  expect(refused.filter(({ event }) => event === 'request.decided')).toHaveLength(GREEDY - PER_SOURCE)
})
