// CONTINUATION without end (CVE-2024-27983, CVE-2024-28182): a field block that never closes is neither kept nor read for long.

import { describe, expect, it } from 'vitest'
import { eachCell } from './support/http2-bed.ts'
import { counted, floods } from './support/http2-flood.ts'
import { FRAME_FLAG, FRAME_TYPE, goawayOn, literals, raw } from './support/http2-wire.ts'
import { MIB } from './support/load-bed.ts'

const FRAME_BYTES = 16_384
/** A field that is in the static table, again and again: nothing about it is wrong. */
const FIELDS = raw(FRAME_TYPE.CONTINUATION, 0, 1, Buffer.alloc(FRAME_BYTES, 0x82))
const EMPTY = raw(FRAME_TYPE.CONTINUATION, 0, 1)
const HEAD_MS = 300

const flood = { error: 'ENHANCE_YOUR_CALM', code: 'H2_CONTINUATION_FLOOD', counted: null, requests: 0 } as const

floods([
  {
    ...flood,
    what: '[C18] 64 MiB of fields',
    volume: { fast: (8 * MIB) / FRAME_BYTES, full: (64 * MIB) / FRAME_BYTES },
    *frames(_asking, volume) {
      yield raw(FRAME_TYPE.HEADERS, 0, 1)
      yield* counted(volume, () => FIELDS)
    },
  },
  {
    ...flood,
    what: '[C18] one octet at a time',
    volume: { fast: 5_000, full: 100_000 },
    *frames(_asking, volume) {
      yield raw(FRAME_TYPE.HEADERS, FRAME_FLAG.END_STREAM, 1, 'x')
      yield* counted(volume, () => raw(FRAME_TYPE.CONTINUATION, 0, 1, '\x82'))
    },
  },
  {
    ...flood,
    what: '[C18] frames that carry nothing',
    volume: { fast: 5_000, full: 100_000 },
    *frames(_asking, volume) {
      yield raw(FRAME_TYPE.HEADERS, 0, 1)
      yield* counted(volume, () => EMPTY)
    },
  },
  {
    ...flood,
    what: '[C18] one field that never ends',
    volume: { fast: 500, full: (64 * MIB) / FRAME_BYTES },
    *frames(_asking, volume) {
      // A literal whose value is announced with 2^27 octets.
      yield raw(FRAME_TYPE.HEADERS, 0, 1, Buffer.from([0, 1, 0x61, 0x7f, 0x81, 0xff, 0xff, 0x3f]))
      yield* counted(volume, () => raw(FRAME_TYPE.CONTINUATION, 0, 1, Buffer.alloc(FRAME_BYTES, 0x61)))
    },
  },
  {
    ...flood,
    what: '[C18] in trailing fields',
    requests: 1,
    volume: { fast: 500, full: (64 * MIB) / FRAME_BYTES },
    *frames(asking, volume, peer) {
      yield peer.headers(1, asking('POST', '/trailed'), false)
      yield raw(FRAME_TYPE.HEADERS, FRAME_FLAG.END_STREAM, 1)
      yield* counted(volume, () => FIELDS)
    },
  },
])

describe('a field block that is sent slowly', () => {
  eachCell(
    (bed) => {
      it('[I01] has until the deadline of a head, however often a little more of it comes', async () => {
        const { asked, attack, lab } = bed()
        const block = literals(asked('GET', '/slow'))
        const started = performance.now()
        const left = await attack(1, async (peer) => {
          peer.write(raw(FRAME_TYPE.HEADERS, FRAME_FLAG.END_STREAM, 1, block.subarray(0, 4)))
          const drip = setInterval(
            () => peer.write(raw(FRAME_TYPE.CONTINUATION, 0, 1, block.subarray(4, 5))),
            HEAD_MS / 4,
          )
          try {
            expect(await goawayOn(peer)).toBe('PROTOCOL_ERROR')
          } finally {
            clearInterval(drip)
          }
        })
        expect(performance.now() - started).toBeGreaterThanOrEqual(HEAD_MS)
        expect(left.decided).toMatchObject([{ decision: 'deny', enforced: true, reason: 'client_timeout', path: null }])
        expect(left.malformed).toMatchObject([{ code: 'H2_HEAD_DEADLINE' }])
        expect(left.got).toEqual([])
        expect(lab.recordsOf('tls.rejected')).toEqual([])
      })
    },
    { deadlines: { headMs: HEAD_MS } },
  )
})
