// Small blocks that stand for large ones (the HPACK bomb), and tables that are emptied and filled for nothing.

import { describe, expect, it } from 'vitest'
import { eachCell, noRequest } from './support/http2-bed.ts'
import { counted, floods } from './support/http2-flood.ts'
import { blockFrames, goawayOn, integer, literals, outcomeOn, streamOf } from './support/http2-wire.ts'

const FIELD_BYTES = 4_000
const INDEXED_TIMES = 16_000
/** The newest entry of the dynamic table, which is the 62nd of all. */
const NEWEST = 0xbe
/** RFC 7541 §6.3 and §6.2.1, whose prefixes are of five and of seven bits. */
const SIZE_UPDATE = 0x20
const INCREMENTAL = 0x40

/** One field of 4 KB that enters the table. */
const large = Buffer.concat([
  Buffer.from([INCREMENTAL, 1, 0x61]),
  integer(0, 127, FIELD_BYTES),
  Buffer.alloc(FIELD_BYTES, 0x62),
])
const sized = (bytes: number): Buffer => integer(SIZE_UPDATE, 31, bytes)
const often = (times: number): Buffer => Buffer.concat([large, Buffer.alloc(times, NEWEST)])

const fault = { error: 'COMPRESSION_ERROR', counted: null, requests: 0 } as const
const VOLUME = { fast: 200, full: 1_000 }

floods([
  {
    ...fault,
    what: '[C19] a field of 4 KB that is asked for sixteen thousand times',
    code: 'H2_HPACK_WORK',
    volume: VOLUME,
    frames: (_asking, volume) => {
      const bomb = often(INDEXED_TIMES)
      return counted(volume, (at) => blockFrames(streamOf(at), bomb))
    },
  },
  {
    ...fault,
    what: '[C19] ten thousand changes of the size of the table in a block',
    code: 'H2_HPACK_TABLE_SIZE',
    volume: VOLUME,
    frames: (_asking, volume) => {
      const churn = Buffer.concat(Array.from({ length: 10_000 }, (_, at) => sized(at % 2 === 0 ? 0 : 4_096)))
      return counted(volume, (at) => blockFrames(streamOf(at), churn))
    },
  },
  {
    ...fault,
    what: '[C19] a table that is larger than was offered',
    code: 'H2_HPACK_TABLE_SIZE',
    volume: VOLUME,
    frames: (asking, volume) =>
      counted(volume, (at) => blockFrames(streamOf(at), Buffer.concat([sized(4_097), literals(asking('GET', '/x'))]))),
  },
  {
    ...fault,
    what: '[C19] an integer without an end',
    code: 'H2_HPACK_INTEGER',
    volume: VOLUME,
    frames: (_asking, volume) => counted(volume, (at) => blockFrames(streamOf(at), Buffer.alloc(100_000, 0xff))),
  },
])

eachCell((bed) => {
  it.each<[string, string, Buffer]>([
    ['an index that there is not', 'H2_HPACK_INDEX', Buffer.from([NEWEST])],
    ['the index 0', 'H2_HPACK_INDEX', Buffer.from([0x80])],
    ['a name by an index that there is not', 'H2_HPACK_INDEX', Buffer.from([0x7e, 1, 0x61])],
    ['a string that is cut', 'H2_HPACK_TRUNCATED', Buffer.from([0, 5, 0x61])],
    ['Huffman codes that end within one', 'H2_HPACK_HUFFMAN', Buffer.from([0, 0x81, 0, 0])],
    [
      'Huffman codes with an end of string in them',
      'H2_HPACK_HUFFMAN',
      Buffer.from([0, 0x84, 0xff, 0xff, 0xff, 0xff, 0]),
    ],
    ['a change of size behind a field', 'H2_HPACK_TABLE_SIZE', Buffer.from([0x82, 0x20])],
  ])('[C19] a block with %s ends the connection: %s', async (_what, code, block) => {
    const left = await bed().attack(1, async (peer) => {
      peer.write(blockFrames(1, block))
      expect(await goawayOn(peer)).toBe('COMPRESSION_ERROR')
    })
    expect(left.malformed).toMatchObject([{ code }])
    expect(left.got).toEqual([])
  })

  it('[C19] a list of 64 KiB and more is 431, and the table is still in step', async () => {
    const { asked, attack } = bed()
    const block = Buffer.concat([literals(asked('GET', '/large')), often(20)])
    const left = await attack(2, async (peer) => {
      peer.write(blockFrames(1, block))
      expect(await outcomeOn(peer, 1)).toEqual({ status: '431', reset: noRequest('').reset })
      // The entry that the first block made is there for the next.
      peer.write(blockFrames(3, Buffer.concat([literals(asked('GET', '/next')), Buffer.from([NEWEST])])))
      expect(await outcomeOn(peer, 3)).toEqual({ status: '200', reset: undefined })
    })
    expect(left.malformed).toMatchObject([{ code: 'H2_HEADER_LIST_TOO_LARGE' }])
    expect(left.decided[0]).toMatchObject({ decision: 'deny', reason: 'header_too_large' })
    expect(left.got).toMatchObject([{ target: '/next', fields: ['a', 'b'.repeat(FIELD_BYTES)] }])
  })

  it('[C19] five hundred requests that each empty the table and fill it are served', async () => {
    const { asked, attack } = bed()
    const churn = Buffer.concat([sized(0), sized(4_096), literals(asked('GET', '/churn')), large])
    const left = await attack(500, async (peer) => {
      for (let at = 0; at < 500; at += 50) {
        for (let next = at; next < at + 50; next += 1) peer.write(blockFrames(streamOf(next), churn))
        const all = (): boolean =>
          Array.from({ length: 50 }, (_, more) => streamOf(at + more)).every((id) => peer.ended(id))
        await peer.until(all, 'the answers')
      }
    })
    expect(left.got).toHaveLength(500)
    expect(new Set(left.got.map(({ fields }) => fields.join('').length))).toEqual(new Set([FIELD_BYTES + 1]))
  })
})

describe('a block within the bounds', () => {
  eachCell((bed) => {
    it.each([
      [200, '200'],
      [201, '431'],
    ])('[I05] %i fields are %s', async (count, status) => {
      const { asked, attack } = bed()
      const fields = Array.from({ length: count }, (_, at) => [`x-${at}`, '']).flat()
      const left = await attack(1, async (peer) => {
        peer.write(peer.headers(1, asked('GET', '/many', ...fields)))
        expect((await outcomeOn(peer, 1)).status).toBe(status)
      })
      expect(left.got).toHaveLength(status === '200' ? 1 : 0)
    })
  })
})
