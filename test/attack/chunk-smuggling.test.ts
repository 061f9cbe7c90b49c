// Chunked bodies with more than one end (RFC 9112 §7.1): what is broken is not passed on as whole, and nothing behind it is read.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  called,
  broken,
  forwarded,
  follow,
  SMUGGLED,
  type SmugglingBed,
  startSmugglingBed,
  WAYS,
} from './support/smuggling.ts'

const KIB = 1_024
const extended = (bytes: number): string => `1;${'e'.repeat(bytes)}\r\na\r\n`

/** A body, behind which the smuggled request follows at once. */
const BROKEN: readonly [name: string, body: string, code: string][] = [
  ['[B22] an extension of 1 MB', `1;${'e'.repeat(1_000_000)}\r\na\r\n0\r\n\r\n`, 'CHUNK_EXTENSION_TOO_LARGE'],
  ['[B22] an extension just over the limit', `${extended(4 * KIB)}0\r\n\r\n`, 'CHUNK_EXTENSION_TOO_LARGE'],
  ['[B22] many small ones', `${extended(100).repeat(200)}0\r\n\r\n`, 'CHUNK_EXTENSION_TOO_LARGE'],
  ['[B22] one of the last chunk', `0;${'e'.repeat(5 * KIB)}\r\n\r\n`, 'CHUNK_EXTENSION_TOO_LARGE'],
  ['[B22] a bare LF in an extension', '2;a\nxx\r\n0\r\n\r\n', 'BAD_CHUNK_EXTENSION'],
  ['[B22] a bare CR in an extension', '2;a\rxx\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B22] NUL in an extension', '2;a\0\r\nhi\r\n0\r\n\r\n', 'BAD_CHUNK_EXTENSION'],
  ['[B22] a quote that is never closed', '2;a="\r\nhi\r\n0\r\n\r\n', 'BAD_CHUNK_EXTENSION'],
  ['[B23] a last chunk without its empty line', '0\r\n', 'SPACE_BEFORE_COLON'],
  ['[B23] more data than its size', '3\r\nabcd\r\n0\r\n\r\n', 'BAD_CHUNK_END'],
  ['[B23] less data than its size', '4\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_END'],
  ['[B23] data and a bare LF', '3\r\nabc\n0\r\n\r\n', 'BAD_CHUNK_END'],
  ['[B23] data and a bare CR', '3\r\nabc\r0\r\n\r\n', 'BAD_CHUNK_END'],
  ['[B23] data and LF CR', '3\r\nabc\n\r0\r\n\r\n', 'BAD_CHUNK_END'],
  ['[B23] a last chunk with data', '0\r\nabc\r\n\r\n', 'BAD_NAME'],
  ['[B24] a size that is no number', 'zz\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] no size', '\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] a negative size', '-1\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] a size with a sign', '+3\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] a size with a prefix', '0x3\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] a size with an underscore', '0_3\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] a size with a point', '3.0\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] a size in quotes', '"3"\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] a space before the size', ' 3\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] a space behind the size', '3 \r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] a tab behind the size', '3\t\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] NUL behind the size', '3\0\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] a bare LF behind the size', '3\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] a bare CR behind the size', '3\rabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] CR CR LF behind the size', '3\r\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] a size that wraps around 32 bits to nothing', '100000000\r\n\r\n', ''],
  ['[B24] a size that wraps around 64 bits to 3', '10000000000000003\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] a size of 2^63', '8000000000000000\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] the largest size of 64 bits', 'ffffffffffffffff\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] leading zeros without an end', `${'0'.repeat(1_000)}3\r\nabc\r\n0\r\n\r\n`, 'BAD_CHUNK_SIZE'],
  ['[B24] digits of another script', '\xb3\r\nabc\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
  ['[B24] a broken chunk behind a good one', '3\r\nabc\r\nzz\r\n0\r\n\r\n', 'BAD_CHUNK_SIZE'],
].filter(([, , code]) => code !== '') as [string, string, string][]

describe.each(WAYS.map((way) => [called(way), way] as const))('%s', (_called, way) => {
  let bed: SmugglingBed
  beforeAll(async () => {
    bed = await startSmugglingBed(way)
  })
  afterAll(() => bed.close())
  const head = (): string =>
    `POST ${bed.spelling.target('/chunks')} HTTP/1.1\r\n${bed.spelling.host}Transfer-Encoding: chunked\r\n\r\n`

  it.each(BROKEN)('%s', async (_name, body, code) => {
    expect(await broken(bed, [head() + body + bed.spelling.smuggled])).toBe(code)
  })

  it.each(BROKEN)('%s, behind its head', async (_name, body, code) => {
    expect(await broken(bed, [head(), body + bed.spelling.smuggled])).toBe(code)
  })

  it('[B24] a size that wraps around 32 bits to nothing is the size it says: what follows is data, and the request never ends', async () => {
    const { canary, lab, spelling, open } = bed
    canary.take()
    const left = await follow(lab)
    const wire = await open()
    wire.write(`${head()}100000000\r\n${spelling.smuggled}`)
    await lab.waitFor('request.decided', lab.recordsOf('request.completed').length + 1)
    wire.socket.destroy()
    const [decided, completed] = await left(1)
    expect(decided).toMatchObject({ decision: 'allow', path: '/chunks' })
    expect(completed).toMatchObject({ outcome: 'client_aborted' })
    expect(canary.take().flatMap(({ requests }) => requests)).toEqual([])
  })

  it.each<[string, string, string]>([
    ['extensions', '2;a;b=c;d="e\\"; f"\r\nhi\r\n0;x=y\r\n\r\n', 'hi'],
    ['extensions of 16 KiB in all', `${extended(1_000).repeat(16)}0\r\n\r\n`, 'a'.repeat(16)],
    ['leading zeros and both cases', '000A\r\n0123456789\r\n00\r\n\r\n', '0123456789'],
    [
      'line ends, last chunks and a request as data',
      '23\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n',
      '\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n',
    ],
    ['nothing', '0\r\n\r\n', ''],
  ])('but %s arrive as what they are, in chunks of ours', async (_name, bytes, body) => {
    const { sent, bytes: arrived } = await forwarded(bed, head() + bytes, ['POST'])
    expect(sent).toEqual([{ method: 'POST', target: '/chunks', body }])
    expect(arrived).not.toMatch(/[;"]/)
  })

  it('and nothing of all this was ever asked for', () => {
    const paths = bed.lab.recordsOf('request.decided').map((record) => record['path'])
    expect(paths).toContain('/chunks')
    expect(paths).not.toContain(SMUGGLED)
  })
})
