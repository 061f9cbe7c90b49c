// A flood of frames from one connection: what it leaves behind a proxy in this process, and what it does to one in a process of its own.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Http2Error } from '../../../src/core/http2-error.ts'
import type { Glitch } from '../../../src/proxy/http2/abuse.ts'
import { CELLS, codeOf, type Http2Bed, startHttp2Bed } from './http2-bed.ts'
import type { AuditRecord } from '../../support/lab.ts'
import { type Http2LoadBed, startHttp2LoadBed } from './http2-load-bed.ts'
import { goawayOn, type RawPeer } from './http2-wire.ts'
import { FULL } from './load-bed.ts'

/** What goes out in one write: more is one record of TLS after the other anyway. */
const WRITE_BYTES = 256 * 1_024
const CLIENTS = FULL ? 4 : 2
const LOAD_TIMEOUT_MS = FULL ? 120_000 : 30_000

/** The pseudo-fields of a request, and more. */
export type Asking = (method: string, path: string, ...more: string[]) => string[]

export interface Flood {
  /** With the ids of the catalogue. */
  readonly what: string
  readonly error: Http2Error
  /** Of `request.malformed`, without its counts. */
  readonly code: string
  /** What must have been counted; null: one was too many. */
  readonly counted: Glitch | null
  /** How many of what `frames` makes: here, and where the load is full. */
  readonly volume: { readonly fast: number; readonly full: number }
  /** Requests that are in order, each an attempt of its own; null: as many as were read. */
  readonly requests: number | null
  readonly frames: (asking: Asking, volume: number, peer: RawPeer) => Iterable<Buffer>
}

/** Writes all of it, as fast as it is taken, until the connection ends. */
export async function pour(peer: RawPeer, frames: Iterable<Buffer>): Promise<number> {
  const { stream } = peer
  let poured = 0
  let held: Buffer[] = []
  let bytes = 0
  const flush = async (): Promise<void> => {
    const full = !stream.write(Buffer.concat(held))
    held = []
    bytes = 0
    if (!full) return
    await new Promise<void>((resolve) => {
      const settle = (): void => {
        for (const event of ['drain', 'close', 'end', 'error']) stream.off(event, settle)
        resolve()
      }
      for (const event of ['drain', 'close', 'end', 'error']) stream.once(event, settle)
    })
  }
  for (const frame of frames) {
    if (peer.closed || stream.destroyed) return poured
    held.push(frame)
    bytes += frame.length
    poured += 1
    if (bytes >= WRITE_BYTES) await flush()
  }
  if (held.length > 0 && !peer.closed && !stream.destroyed) await flush()
  return poured
}

export function* counted(count: number, make: (index: number) => Buffer): Iterable<Buffer> {
  for (let index = 0; index < count; index += 1) yield make(index)
}

/** The same floods in both places; each is one attempt, with its counts, and GOAWAY. */
export function floods(all: readonly Flood[]): void {
  describe.each(CELLS)('through the door $door to an origin of $origin', (cell) => {
    let bed: Http2Bed
    beforeAll(async () => {
      bed = await startHttp2Bed(cell)
    })
    afterAll(() => bed?.close())
    it.each(all.map((flood) => [flood.what, flood] as const))('%s', async (_what, flood) => {
      expect(await recordedOnce(bed, flood)).toBe(flood.error)
    })
  })

  describe('a proxy in a process of its own', () => {
    let bed: Http2LoadBed
    beforeAll(async () => {
      bed = await startHttp2LoadBed()
    })
    afterAll(() => bed?.close())
    it.each(all.map((flood) => [`${flood.what}: ${FULL ? flood.volume.full : flood.volume.fast}`, flood] as const))(
      '%s from each of several connections at once, three times',
      { timeout: LOAD_TIMEOUT_MS },
      async (_what, flood) => {
        const { attacks, recorded } = await survived(bed, flood)
        expect(recorded, 'attacks in the trail').toBe(attacks)
      },
    )
  })
}

/** Answers the error of the GOAWAY. */
async function recordedOnce(bed: Http2Bed, flood: Flood): Promise<Http2Error | null | undefined> {
  const { lab, asked } = bed
  let goaway: Http2Error | null | undefined
  const before = lab.recordsOf('request.decided').length
  // How many of its requests were read before the end nobody can tell beforehand; each of them is an attempt.
  const left = await bed.attack(flood.requests === null ? null : flood.requests + 1, async (peer) => {
    await pour(peer, flood.frames(asked, flood.volume.fast, peer))
    goaway = await goawayOn(peer)
  })
  const faults = left.malformed.filter((record) => codeOf(record) === flood.code)
  expect(faults, 'one for the connection').toHaveLength(1)
  const { request_id, code } = faults[0] as AuditRecord
  expect(code).toMatch(new RegExp(flood.counted === null ? `^${flood.code}$` : ` ${flood.counted}=[1-9]`))
  // The others, where requests are none, have a request each.
  expect(left.malformed.length - 1).toBeLessThan(left.decided.length)
  const [fault] = left.decided.filter((record) => record.request_id === request_id)
  expect(fault).toMatchObject({ decision: 'deny', enforced: true, reason: 'malformed', method: null, path: null })
  expect(left.completed.filter((record) => record.request_id === request_id)).toMatchObject([
    { outcome: 'refused', reason: 'malformed', status: null, upstream_address: null, bytes_sent: 0 },
  ])
  expect(lab.recordsOf('request.decided').length - before).toBe(left.decided.length + 1)
  const allowed = left.decided.filter(({ decision }) => decision === 'allow')
  expect(left.got.length, 'requests at the origin').toBeLessThanOrEqual(allowed.length)
  return goaway
}

async function survived(bed: Http2LoadBed, flood: Flood): Promise<{ attacks: number; recorded: number }> {
  const volume = FULL ? flood.volume.full : flood.volume.fast
  const before = bed.malformed(flood.code).length
  let attacks = 0
  await bed.again(async () => {
    const peers = await Promise.all(Array.from({ length: CLIENTS }, () => bed.connect()))
    await Promise.all(
      peers.map(async (peer) => {
        peer.begin()
        await pour(peer, flood.frames(bed.asked, volume, peer))
        expect([flood.error, undefined], 'GOAWAY, or the reset of what nobody read').toContain(await goawayOn(peer))
        peer.stream.destroy()
      }),
    )
    attacks += peers.length
  })
  return { attacks, recorded: bed.malformed(flood.code).length - before }
}
