// Idle connections to origins: kept apart by origin, within bounds, and not for ever.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { parseAuthority } from '../../src/core/address.ts'
import type { AddressPolicy } from '../../src/core/address-class.ts'
import type { Permit } from '../../src/core/rule.ts'
import type { Dialled } from '../../src/proxy/dial.ts'
import { OriginConnection } from '../../src/proxy/origin-connection.ts'
import { NO_TIMINGS, OriginPool, type Wanted } from '../../src/proxy/origin-pool.ts'
import { type FarEnd, farEnd, get } from './support/far-end.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'
const PER_ORIGIN = 512
const IDLE_MS = 30_000
const SWEEP_MS = 1_000
const MAX_AGE_MS = 300_000

let dialled: FarEnd[]
let addresses: AddressPolicy
let pool: OriginPool

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })
  dialled = []
  addresses = {} as AddressPolicy
  pool = new OriginPool(
    () => {
      const end = farEnd()
      dialled.push(end)
      return Promise.resolve(end.dialled)
    },
    () => addresses,
  )
})
afterEach(() => {
  vi.useRealTimers()
})

/** What of a permit a pool looks at, for a client of HTTP/1.1. */
function permit(authority: string, scheme: 'http' | 'https' = 'https'): Wanted {
  const link = { gone: false, interrupted: null, onGone: () => undefined, interrupt: () => undefined }
  return {
    permit: { scheme, client: 'one', ...parseAuthority(authority, 443) } as Permit,
    prefers: 'http/1.1',
    link,
    source: '192.0.2.1',
  }
}

async function acquired(wanted: Wanted): Promise<{ connection: OriginConnection; reused: boolean }> {
  const kept = pool.kept(wanted)
  if (kept instanceof OriginConnection) return { connection: kept, reused: true }
  const got = await pool.connect(wanted)
  if (got.kind !== 'connected' || !(got.carrier instanceof OriginConnection)) throw new Error(got.kind)
  return { connection: got.carrier, reused: false }
}

/** Serves one request, after which the pool has the connection back, unless it does not want it. */
async function release(connection: OriginConnection): Promise<void> {
  const answer = connection.send(get())
  await dialled.find((end) => end.dialled.socket === socketOf(connection))?.say(OK)
  await answer
}

const sockets = new WeakMap<OriginConnection, unknown>()
const socketOf = (connection: OriginConnection): unknown => sockets.get(connection)

async function used(wanted: Wanted): Promise<OriginConnection> {
  const { connection, reused } = await acquired(wanted)
  if (!reused) sockets.set(connection, dialled.at(-1)?.dialled.socket)
  await release(connection)
  return connection
}

it('the last one given back is the next one given out', async () => {
  const first = await used(permit('a.test'))
  expect(await acquired(permit('a.test'))).toMatchObject({ connection: first, reused: true })
  expect(dialled).toHaveLength(1)
})

it('one that is in use is not given out twice', async () => {
  await used(permit('a.test'))
  const [one, two] = [await acquired(permit('a.test')), await acquired(permit('a.test'))]
  expect(one.connection).not.toBe(two.connection)
})

it.each<[string, Wanted]>([
  ['another host', permit('b.test')],
  ['a host below', permit('x.a.test')],
  ['another port', permit('a.test:8443')],
  ['the other scheme', permit('a.test', 'http')],
  ['another client', { ...permit('a.test'), permit: { ...permit('a.test').permit, client: 'other' } }],
  ['the same client at another address', { ...permit('a.test'), source: '192.0.2.2' }],
])('%s gets a connection of its own', async (_name, other) => {
  await used(permit('a.test'))
  expect((await acquired(other)).reused).toBe(false)
})

it('a new one is made where it is asked for, and the kept one stays', async () => {
  const kept = await used(permit('a.test'))
  expect(await pool.connect(permit('a.test'))).not.toMatchObject({ carrier: kept })
  expect(kept.closed).toBe(false)
})

it(`at most ${PER_ORIGIN} idle ones are kept for an origin`, async () => {
  const wanted = permit('a.test')
  const connections: OriginConnection[] = []
  for (let index = 0; index < PER_ORIGIN + 3; index++) {
    const { connection } = await acquired(wanted)
    sockets.set(connection, dialled.at(-1)?.dialled.socket)
    connections.push(connection)
  }
  for (const connection of connections) await release(connection)
  expect(connections.filter(({ closed }) => closed)).toHaveLength(3)
})

it('an idle one is closed after half a minute, by the next look at all of them, and forgotten', async () => {
  const first = await used(permit('a.test'))
  vi.advanceTimersByTime(IDLE_MS - 1)
  expect(first.closed).toBe(false)
  vi.advanceTimersByTime(SWEEP_MS)
  expect(first.closed).toBe(true)
  expect((await acquired(permit('a.test'))).reused).toBe(false)
})

it('one older than five minutes is not kept: its name is resolved and judged again', async () => {
  const first = await used(permit('a.test'))
  for (let age = 0; age <= MAX_AGE_MS && !first.closed; age += IDLE_MS / 2) {
    vi.advanceTimersByTime(IDLE_MS / 2)
    expect(await used(permit('a.test'))).toBe(first)
  }
  expect(first.closed).toBe(true)
  expect(dialled).toHaveLength(1)
})

it('[P39] one from before a change of the address policy is not used under the new one', async () => {
  const first = await used(permit('a.test'))
  addresses = {} as AddressPolicy
  expect((await acquired(permit('a.test'))).reused).toBe(false)
  expect(first.closed).toBe(true)
})

it('one that was in use during a change of the address policy is not kept', async () => {
  const { connection } = await acquired(permit('a.test'))
  sockets.set(connection, dialled.at(-1)?.dialled.socket)
  addresses = {} as AddressPolicy
  await release(connection)
  expect(connection.closed).toBe(true)
})

it('a change of the policy closes the idle ones, and none that is in use', async () => {
  const idle = await used(permit('a.test'))
  const { connection: busy } = await acquired(permit('b.test'))
  pool.closeIdle('the policy has changed')
  expect([idle.closed, busy.closed]).toEqual([true, false])
})

it('one that its origin has closed is not given out, not even before the close is complete', async () => {
  const first = await used(permit('a.test'))
  const end = dialled[0]
  const ended = new Promise((resolve) => void end?.near.once('end', resolve))
  end?.far.end()
  await ended
  expect((await acquired(permit('a.test'))).reused).toBe(false)
  expect(first.closed).toBe(true)
})

it('closing ends the idle ones at once and those in use when they are given back', async () => {
  const idle = await used(permit('a.test'))
  const { connection: busy } = await acquired(permit('b.test'))
  sockets.set(busy, dialled.at(-1)?.dialled.socket)
  pool.close()
  expect([idle.closed, busy.closed]).toEqual([true, false])
  await release(busy)
  expect(busy.closed).toBe(true)
})

it('the timings of two dials add up, where the origin refused the first offer', async () => {
  const offers: string[] = []
  const dial = (offer: string): Dialled => {
    offers.push(offer)
    if (offers.length > 1) return { ...farEnd().dialled, timings: { dns: null, connect: 20, tls: 30 } }
    const timings = { dns: 1, connect: 2, tls: null }
    return { kind: 'failed', reason: 'upstream_tls', detail: 'alert', offerRefused: true, timings }
  }
  pool = new OriginPool(
    async (_permit, offer) => dial(offer),
    () => addresses,
  )
  expect(await pool.connect(permit('a.test'))).toMatchObject({ timings: { dns: 1, connect: 22, tls: 30 } })
  expect(offers).toEqual(['http/1.1', 'h2,http/1.1'])
})

it('counts what is open, and refuses past its bound', async () => {
  const sources = ['192.0.2.1', '192.0.2.2', '192.0.2.3']
  // Half of what there is, half of the rest, and so on: at last every new client has one.
  for (const source of sources) {
    for (let index = 0; index < 2_048 && pool.open < 4_096 - 2_048 / 2 ** sources.indexOf(source); index++) {
      await pool.connect({ ...permit('a.test'), source })
    }
  }
  expect(pool.open).toBe(3_584)
  expect(await pool.connect({ ...permit('a.test'), source: '192.0.2.1' })).toEqual({ kind: 'overloaded' })
  const closed = new Promise((resolve) => void dialled[0]?.near.once('close', resolve))
  dialled[0]?.far.destroy()
  dialled[0]?.near.destroy()
  await closed
  expect(pool.open).toBe(3_583)
  expect((await pool.connect({ ...permit('a.test'), source: '192.0.2.4' })).kind).toBe('connected')
})

describe('at the bound', () => {
  const wanted = (authority: string, source: string): Wanted => ({ ...permit(authority), source })

  beforeEach(() => {
    pool = new OriginPool(
      () => {
        const end = farEnd()
        dialled.push(end)
        return Promise.resolve(end.dialled)
      },
      () => addresses,
      4,
    )
  })

  it('one client leaves room for another', async () => {
    const kinds = []
    for (const source of ['192.0.2.1', '192.0.2.1', '192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4']) {
      kinds.push((await pool.connect(wanted('a.test', source))).kind)
    }
    expect(kinds).toEqual(['connected', 'connected', 'overloaded', 'connected', 'connected', 'overloaded'])
    expect(pool.open).toBe(4)
  })

  it('a kept one that nobody uses is closed for one that is needed', async () => {
    const idle = await used(wanted('idle.test', '192.0.2.1'))
    expect((await pool.connect(wanted('a.test', '192.0.2.1'))).kind).toBe('connected')
    expect([(await pool.connect(wanted('a.test', '192.0.2.1'))).kind, idle.closed]).toEqual(['connected', true])
    expect(pool.open).toBe(2)
  })

  it('what could not be dialled is not counted', async () => {
    const failed = { kind: 'failed', reason: 'dns_failed', detail: '', timings: NO_TIMINGS } as const
    pool = new OriginPool(
      () => Promise.resolve(failed),
      () => addresses,
      4,
    )
    for (let index = 0; index < 5; index++) {
      expect((await pool.connect(wanted('a.test', '192.0.2.1'))).kind).toBe('failed')
    }
    expect(pool.open).toBe(0)
  })
})
