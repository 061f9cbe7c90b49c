// Which codings are undone, and everything in a coded body that two readers could read differently.

import * as zlib from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { BODY_INSPECTION_LIMIT } from '../../src/core/body.ts'
import { decodeContent } from '../../src/proxy/content-coding.ts'

const TEXT = Buffer.from('{"To":"a@acme.example","TextBody":"hello"}')
const { zstdCompressSync } = zlib as { readonly zstdCompressSync?: (bytes: Buffer) => Buffer }
const decoded = (bytes: Buffer): object => ({ kind: 'decoded', bytes })
const undecodable = (why: RegExp): object => ({ kind: 'undecodable', why: expect.stringMatching(why) as string })

describe('a body', () => {
  it.each([
    ['without a coding', null, TEXT],
    ['that says identity', ' Identity ', TEXT],
    ['in gzip', 'gzip', zlib.gzipSync(TEXT)],
    ['in gzip by its old name and in capitals', 'X-GZip', zlib.gzipSync(TEXT)],
    [
      'in several members of gzip',
      'gzip',
      Buffer.concat([zlib.gzipSync(TEXT.subarray(0, 9)), zlib.gzipSync(TEXT.subarray(9))]),
    ],
    ['in deflate', 'deflate', zlib.deflateSync(TEXT)],
    ['in brotli', 'br', zlib.brotliCompressSync(TEXT)],
  ])('%s is read', async (_what, coding, bytes) => {
    expect(await decodeContent(bytes, coding)).toEqual(decoded(TEXT))
  })

  it.skipIf(zstdCompressSync === undefined)('in zstd is read where Node.js knows it', async () => {
    expect(await decodeContent(zstdCompressSync?.(TEXT) ?? TEXT, 'zstd')).toEqual(decoded(TEXT))
  })

  it('is as long as the inspection limit and no longer', async () => {
    // Not compressible a hundredfold: numbers.
    const numbers = Buffer.from(Array.from({ length: 200_000 }, (_, at) => at).join(','))
    const whole = numbers.subarray(0, BODY_INSPECTION_LIMIT)
    expect(await decodeContent(zlib.gzipSync(whole), 'gzip')).toEqual(decoded(whole))
    expect(await decodeContent(zlib.gzipSync(numbers.subarray(0, BODY_INSPECTION_LIMIT + 1)), 'gzip')).toEqual(
      undecodable(/longer than the inspection limit of 1048576 bytes/),
    )
  })
})

describe('refused', () => {
  const gzip = zlib.gzipSync(TEXT)
  const bomb = Buffer.alloc(512 * 1_024, ' ')
  it.each([
    ['a coding nobody here knows', 'compress', TEXT, /not one that can be inspected/],
    ['two codings', 'gzip, br', gzip, /not one that can be inspected/],
    ['two fields', '', gzip, /not one that can be inspected/],
    [
      'deflate without its header, which some receivers guess',
      'deflate',
      zlib.deflateRawSync(TEXT),
      /can not be undone/,
    ],
    ['gzip that calls itself deflate', 'deflate', gzip, /can not be undone/],
    ['gzip that calls itself brotli', 'br', gzip, /can not be undone|ends before/],
    ['JSON that calls itself gzip', 'gzip', TEXT, /can not be undone/],
    ['nothing that calls itself gzip', 'gzip', Buffer.alloc(0), /can not be undone/],
    ['gzip that is cut', 'gzip', gzip.subarray(0, -1), /can not be undone/],
    ['gzip with a wrong checksum', 'gzip', flipped(gzip, gzip.length - 6), /can not be undone/],
    ['JSON behind gzip', 'gzip', Buffer.concat([gzip, TEXT]), /ends before the body does|can not be undone/],
    [
      'a zero behind gzip',
      'gzip',
      Buffer.concat([gzip, Buffer.alloc(1)]),
      /ends before the body does|can not be undone/,
    ],
    [
      'a part of a member behind gzip',
      'gzip',
      Buffer.concat([gzip, gzip.subarray(0, 12)]),
      /ends before|can not be undone/,
    ],
    ['JSON behind deflate', 'deflate', Buffer.concat([zlib.deflateSync(TEXT), TEXT]), /ends before the body does/],
    [
      'JSON behind brotli',
      'br',
      Buffer.concat([zlib.brotliCompressSync(TEXT), TEXT]),
      /ends before the body does|can not be undone/,
    ],
    ['what grows more than a hundred times', 'gzip', zlib.gzipSync(bomb), /more than 100 times as long/],
    ['the same in brotli', 'br', zlib.brotliCompressSync(bomb), /more than 100 times as long/],
  ])('%s', async (_what, coding, bytes, why) => {
    expect(await decodeContent(bytes, coding)).toEqual(undecodable(why))
  })
})

function flipped(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes)
  changed[at] = (changed[at] ?? 0) ^ 1
  return changed
}
