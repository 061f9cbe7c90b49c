import { Buffer } from 'node:buffer'
import { isDeepStrictEqual } from 'node:util'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type HpackDecoded, HpackDecoder, HpackEncoder, type HpackLimits } from '../../src/core/hpack.ts'
import {
  PYTHON_HPACK_MISSING,
  type PythonBlock,
  type PythonField,
  pythonDecode,
  pythonEncode,
} from '../support/python-hpack.ts'

const LIMITS: HpackLimits = { maxListBytes: 64 * 1024, maxFields: 200, maxStringBytes: 64 * 1024 }

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const fields = (...list: string[]): object => ({ kind: 'fields', fields: list, tooLarge: false })
const bad = (code: string): object => ({ kind: 'bad', code })

/** An integer of RFC 7541 §5.1 whose prefix is full. */
function long(first: number, bits: number, value: number): Buffer {
  const octets = [first | ((1 << bits) - 1)]
  let rest = value - ((1 << bits) - 1)
  for (; rest > 0x7f; rest >>= 7) octets.push((rest & 0x7f) | 0x80)
  return Buffer.from([...octets, rest])
}

/** A literal with a new name of one octet, and a value of that many. */
function literal(first: number, name: string, valueBytes: number): Buffer {
  const length = valueBytes < 127 ? Buffer.from([valueBytes]) : long(0, 7, valueBytes)
  return Buffer.concat([Buffer.from([first, 1]), Buffer.from(name), length, Buffer.alloc(valueBytes, 'v')])
}

/** Fields that repeat and fields that do not, in names that are short enough to meet each other. */
const fieldLists = fc
  .array(
    fc.tuple(
      fc.constantFrom(':method', ':path', ':status', 'user-agent', 'cookie', 'x-secret-key', 'accept', 'x-own', ''),
      fc.oneof(
        fc.constantFrom('', 'GET', '/', '200', 'a'.repeat(126), 'b'.repeat(127), 'c'.repeat(700)),
        fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 40 }),
      ),
    ),
    { maxLength: 12 },
  )
  .map((pairs) => pairs.flat())

const connections: fc.Arbitrary<PythonBlock[]> = fc.array(
  fc.record({
    fields: fieldLists,
    huffman: fc.boolean(),
    tableBytes: fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, fc.integer({ min: 0, max: 4096 })),
  }),
  { minLength: 1, maxLength: 8 },
)

describe('RFC 7541 Appendix C', () => {
  it.each([
    ['C.2.1', '400a637573746f6d2d6b65790d637573746f6d2d686561646572', ['custom-key', 'custom-header']],
    ['C.2.2', '040c2f73616d706c652f70617468', [':path', '/sample/path']],
    ['C.2.3', '100870617373776f726406736563726574', ['password', 'secret']],
    ['C.2.4', '82', [':method', 'GET']],
  ])('%s', (_, block, list) => {
    expect(new HpackDecoder().decode(hex(block), LIMITS)).toMatchObject(fields(...list))
  })

  const getsExample = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com']
  const getsCustom = [':method', 'GET', ':scheme', 'https', ':path', '/index.html', ':authority', 'www.example.com']
  const date = 'Mon, 21 Oct 2013 20:13:21 GMT'
  const rest = ['cache-control', 'private', 'date', date, 'location', 'https://www.example.com']
  const cookie = 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'
  const answers = [
    [':status', '302', ...rest],
    [':status', '307', ...rest],
    [':status', '200', ...rest, 'content-encoding', 'gzip', 'set-cookie', cookie].map((text) =>
      text === date ? 'Mon, 21 Oct 2013 20:13:22 GMT' : text,
    ),
  ]
  const requests = [
    getsExample,
    [...getsExample, 'cache-control', 'no-cache'],
    [...getsCustom, 'custom-key', 'custom-value'],
  ]

  const inRequests = ['custom-key', 'custom-value', 'cache-control', 'no-cache', ':authority', 'www.example.com']
  const inAnswers = ['set-cookie', cookie, 'content-encoding', 'gzip', 'date', 'Mon, 21 Oct 2013 20:13:22 GMT']

  it.each([
    [
      'C.3, requests without Huffman',
      requests,
      inRequests,
      [
        '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        '8286 84be 5808 6e6f 2d63 6163 6865',
        '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
      ],
    ],
    [
      'C.4, requests with Huffman',
      requests,
      inRequests,
      [
        '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
        '8286 84be 5886 a8eb 1064 9cbf',
        '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
      ],
    ],
    [
      'C.5, answers without Huffman, in a table of 256 octets',
      [[], ...answers],
      inAnswers,
      [
        '3fe101',
        '4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d' +
          '546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        '4803 3330 37c1 c0bf',
        '88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f' +
          '6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b' +
          '2076 6572 7369 6f6e 3d31',
      ],
    ],
    [
      'C.6, answers with Huffman, in a table of 256 octets',
      [[], ...answers],
      inAnswers,
      [
        '3fe101',
        '4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7' +
          '8f0b 97c8 e9ae 82ae 43d3',
        '4883 640e ffc1 c0bf',
        '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335' +
          'dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
      ],
    ],
  ])('%s', (_, lists, left, blocks) => {
    const decoder = new HpackDecoder()
    expect(blocks.map((block) => decoder.decode(hex(block), LIMITS))).toMatchObject(
      lists.map((list) => fields(...list)),
    )

    // What the appendix says is in the table at last, newest first, and nothing behind it.
    expect(decoder.decode(hex('bebfc0'), LIMITS)).toMatchObject(fields(...left))
    expect(decoder.decode(hex('c1'), LIMITS)).toEqual(bad('HPACK_INDEX'))
  })
})

describe('HpackDecoder', () => {
  it.each([
    ['an empty block', '', []],
    ['an indexed field of the static table', '82', [':method', 'GET']],
    ['the last of the static table', 'bd', ['www-authenticate', '']],
    ['a literal without indexing, its name at an index', '0f 0d 01 35', ['content-length', '5']],
    ['a literal never indexed, its name at an index', '1f 08 01 61', ['authorization', 'a']],
    ['an empty name and an empty value', '00 00 00', ['', '']],
    ['any octets in a name and a value', '00 02 41 00 03 0d 0a ff', ['A\0', '\r\n\xff']],
    ['an integer with more octets than it needs (§5.1)', '1f 88 80 80 00 01 61', ['authorization', 'a']],
    ['a Huffman string of no octet', '00 80 80', ['', '']],
    ['two size updates, and fields behind them', '20 3f e1 1f 82', [':method', 'GET']],
  ])('reads %s', (_, block, list) => {
    const decoded = new HpackDecoder().decode(hex(block), LIMITS)
    expect(decoded).toMatchObject(fields(...list))
  })

  it.each([
    ['index 0', '80', 'HPACK_INDEX'],
    ['an index behind an empty dynamic table', 'be', 'HPACK_INDEX'],
    ['an index far behind it', 'ff ff ff ff 7f', 'HPACK_INDEX'],
    ['a name at an index that is not there, with indexing', '7f 00 01 61', 'HPACK_INDEX'],
    ['a name at an index that is not there, without', '0f 2f 01 61', 'HPACK_INDEX'],
    ['an integer of five octets behind its prefix', 'ff 80 80 80 80 00', 'HPACK_INTEGER'],
    ['an integer that would pass 32 bits', 'ff ff ff ff ff 0f', 'HPACK_INTEGER'],
    ['a length that would pass 32 bits', '00 7f ff ff ff ff 0f', 'HPACK_INTEGER'],
    ['a size that would pass 32 bits', '3f ff ff ff ff 0f', 'HPACK_INTEGER'],
    ['an index that breaks off', 'ff', 'HPACK_TRUNCATED'],
    ['an index that breaks off in its last octet', 'ff ff ff ff', 'HPACK_TRUNCATED'],
    ['an integer that breaks off where it would be too long', 'ff ff ff ff ff', 'HPACK_INTEGER'],
    ['a size that breaks off', '3f', 'HPACK_TRUNCATED'],
    ['a name that is not there', '40', 'HPACK_TRUNCATED'],
    ['a name that breaks off', '40 02 61', 'HPACK_TRUNCATED'],
    ['a value that is not there', '40 01 61', 'HPACK_TRUNCATED'],
    ['a value that breaks off', '82 41 03 61 62', 'HPACK_TRUNCATED'],
    ['a value whose length breaks off', '41 7f', 'HPACK_TRUNCATED'],
    ['a Huffman value that breaks off', '41 82 00', 'HPACK_TRUNCATED'],
    ['EOS in a name [C19]', '40 84 ff ff ff ff 00', 'HPACK_HUFFMAN'],
    ['padding of zeros in a value', '41 81 00', 'HPACK_HUFFMAN'],
    ['padding of eight bits in a value', '41 82 f8 ff', 'HPACK_HUFFMAN'],
    ['a size over the default', '3f e2 1f', 'HPACK_TABLE_SIZE'],
    ['a second size over the default', '20 3f e2 1f', 'HPACK_TABLE_SIZE'],
    ['a size behind a field (§4.2) [C19]', '82 20', 'HPACK_TABLE_SIZE'],
    ['a third size [C19]', '20 20 20', 'HPACK_TABLE_SIZE'],
  ])('refuses %s', (_, block, code) => {
    expect(new HpackDecoder().decode(hex(block), LIMITS)).toEqual(bad(code))
  })

  it.each([
    [0, '20', '21'],
    [256, '3f e1 01', '3f e2 01'],
    [8192, '3f e1 3f', '3f e2 3f'],
  ])('takes a size of what was offered and no octet more: %i', (offered, most, more) => {
    expect(new HpackDecoder(offered).decode(hex(most), LIMITS)).toMatchObject(fields())
    expect(new HpackDecoder(offered).decode(hex(more), LIMITS)).toEqual(bad('HPACK_TABLE_SIZE'))
  })

  it.each([0, 256, 8192])('begins with a table of the default size, whatever was offered: %i', (offered) => {
    const decoder = new HpackDecoder(offered)
    decoder.decode(Buffer.concat([literal(0x40, 'a', 2000), literal(0x40, 'b', 2000), literal(0x40, 'c', 1)]), LIMITS)
    expect(decoder.decode(hex('be bf'), LIMITS)).toMatchObject(fields('c', 'v', 'b', 'v'.repeat(2000)))
    expect(decoder.decode(hex('c0'), LIMITS)).toEqual(bad('HPACK_INDEX'))
  })

  it('uses the larger table that was offered once the peer says so', () => {
    const decoder = new HpackDecoder(8192)
    const three = ['a', 'b', 'c'].map((name) => literal(0x40, name, 2000))
    decoder.decode(Buffer.concat([hex('3f e1 3f'), ...three]), LIMITS)
    expect(decoder.decode(hex('c0'), LIMITS)).toMatchObject(fields('a', 'v'.repeat(2000)))
  })

  it('puts into the table what is to be indexed, and nothing else', () => {
    const decoder = new HpackDecoder()
    const block = Buffer.concat([literal(0x40, 'a', 1), literal(0x00, 'b', 1), literal(0x10, 'c', 1)])
    expect(decoder.decode(block, LIMITS)).toMatchObject(fields('a', 'v', 'b', 'v', 'c', 'v'))
    expect(decoder.decode(hex('be'), LIMITS)).toMatchObject(fields('a', 'v'))
    expect(decoder.decode(hex('7e 01 77'), LIMITS)).toMatchObject(fields('a', 'w'))
    expect(decoder.decode(hex('be bf'), LIMITS)).toMatchObject(fields('a', 'w', 'a', 'v'))
    expect(decoder.decode(hex('c0'), LIMITS)).toEqual(bad('HPACK_INDEX'))
  })

  it('takes a name from an entry that the insertion evicts (RFC 7541 §4.4)', () => {
    const decoder = new HpackDecoder()
    decoder.decode(literal(0x40, 'a', 4000), LIMITS)
    const block = Buffer.concat([hex('7e'), long(0, 7, 4000), Buffer.alloc(4000, 'w')])
    expect(decoder.decode(block, LIMITS)).toMatchObject(fields('a', 'w'.repeat(4000)))
    expect(decoder.decode(hex('be'), LIMITS)).toMatchObject(fields('a', 'w'.repeat(4000)))
    expect(decoder.decode(hex('bf'), LIMITS)).toEqual(bad('HPACK_INDEX'))
  })

  it('answers any octets, and each time within its limits', () => {
    const limits = { maxListBytes: 300, maxFields: 5, maxStringBytes: 60 }
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }), (blocks) => {
        const decoder = new HpackDecoder()
        for (const block of blocks) {
          const decoded = decoder.decode(Buffer.from(block), limits)
          if (decoded.kind === 'bad') return
          expect(decoded.fields.length).toBeLessThanOrEqual(10)
          expect(decoded.listBytes).toBeLessThanOrEqual(4 * 300)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

describe('the limits of a block', () => {
  const limits = { maxListBytes: 200, maxFields: 3, maxStringBytes: 50 }
  const list = (count: number, first: number, valueBytes: number): Buffer =>
    Buffer.concat(Array.from({ length: count }, () => literal(first, 'a', valueBytes)))

  it('counts 32 octets for a field beside its name and value (RFC 9113 §6.5.2)', () => {
    expect(new HpackDecoder().decode(hex('82 84'), LIMITS)).toMatchObject({ listBytes: 7 + 3 + 32 + 5 + 1 + 32 })
  })

  it.each([
    ['as many fields as may be', list(3, 0, 0), 3, false],
    ['one field more', list(4, 0, 0), 3, true],
    ['as many octets as may be', Buffer.concat([list(2, 0, 34), literal(0, 'a', 33)]), 3, false],
    ['one octet more', Buffer.concat([list(2, 0, 34), literal(0, 'a', 34)]), 2, true],
    ['a small field behind one too many octets', Buffer.concat([list(3, 0, 50), literal(0, 'a', 0)]), 2, true],
  ])('%s', (_, block, kept, tooLarge) => {
    const decoded = new HpackDecoder().decode(block, limits)
    expect(decoded).toMatchObject({ kind: 'fields', tooLarge })
    expect(decoded.kind === 'fields' && decoded.fields).toHaveLength(2 * kept)
  })

  it.each([
    ['a plain name', '00 32', 50, '00'],
    ['a plain value', '00 01 61 32', 50, ''],
    // 50 codes of five zeros, and padding.
    ['a Huffman value', '00 01 61 a0', 31, '3f'],
  ])('takes a string of as many octets as may be: %s', (_, start, zeros, end) => {
    const block = Buffer.concat([hex(start), Buffer.alloc(zeros), hex(end)])
    expect(new HpackDecoder().decode(block, limits)).toMatchObject({ kind: 'fields', tooLarge: false })
  })

  it.each([
    ['a plain name', '00 33', 51, '00'],
    ['a plain value', '00 01 61 33', 51, ''],
    ['a Huffman value', '00 01 61 a0', 31, '01'],
  ])('refuses a string of one octet more: %s', (_, start, zeros, end) => {
    const block = Buffer.concat([hex(start), Buffer.alloc(zeros), hex(end)])
    expect(new HpackDecoder().decode(block, limits)).toEqual(bad('HPACK_STRING_TOO_LONG'))
  })

  it('takes a Huffman string of 64 KiB where that may be, and no octet more', () => {
    const codes = Buffer.alloc((65_536 * 5) / 8)
    const start = (octets: number): Buffer => Buffer.concat([hex('00 01 61'), long(0x80, 7, octets)])
    const most = Buffer.concat([start(codes.length), codes])
    expect(new HpackDecoder().decode(most, LIMITS)).toMatchObject({ kind: 'fields', listBytes: 65_536 + 33 })
    const more = Buffer.concat([start(codes.length + 1), codes, hex('07')])
    expect(new HpackDecoder().decode(more, LIMITS)).toEqual(bad('HPACK_STRING_TOO_LONG'))
  })

  it('stays in step with the table of the peer while it leaves fields out', () => {
    fc.assert(
      fc.property(fc.array(fieldLists, { minLength: 1, maxLength: 6 }), (lists) => {
        const encoder = new HpackEncoder()
        const strict = new HpackDecoder()
        const tight = { maxListBytes: 3000, maxFields: 2, maxStringBytes: 1000 }
        for (const written of lists) {
          const decoded = strict.decode(encoder.encode(written), tight)
          if (decoded.kind === 'bad') return
          expect(decoded.fields).toEqual(written.slice(0, decoded.fields.length))
          expect(decoded.tooLarge).toBe(decoded.fields.length < written.length)
        }
        const last = lists.at(-1) ?? []
        expect(strict.decode(encoder.encode(last), LIMITS)).toMatchObject(fields(...last))
      }),
    )
  })

  it('gives a block up at four times the octets of a list: a field of 4 KB, 16,000 times by its index [C19]', () => {
    const bomb = Buffer.concat([literal(0x40, 'a', 4000), Buffer.alloc(16_000, 0xbe)])
    expect(new HpackDecoder().decode(bomb, LIMITS)).toEqual(bad('HPACK_WORK'))
    const fitting = Math.floor((4 * LIMITS.maxListBytes) / 4033)
    const decoder = new HpackDecoder()
    const most = decoder.decode(Buffer.concat([literal(0x40, 'a', 4000), Buffer.alloc(fitting - 1, 0xbe)]), LIMITS)
    expect(most).toMatchObject({ tooLarge: true, listBytes: fitting * 4033 })
    expect(decoder.decode(Buffer.alloc(fitting + 1, 0xbe), LIMITS)).toEqual(bad('HPACK_WORK'))
  })

  it.each([
    ['empty fields', hex('00 00 00')],
    ['an indexed field', hex('82')],
    ['churn of the table', literal(0x40, 'a', 3000)],
    ['a Huffman value', Buffer.concat([hex('00 00'), long(0x80, 7, 1000), Buffer.alloc(1000)])],
  ])('gives up a block of ten million octets soon: %s [C19]', (_, field) => {
    const endless = Buffer.alloc(10_000_000, field)
    let read = 0
    const counted = new Proxy(endless, {
      get: (target, key) => {
        read++
        const value: unknown = Reflect.get(target, key)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    expect(new HpackDecoder().decode(counted, LIMITS)).toEqual(bad('HPACK_WORK'))
    expect(read).toBeLessThan(1_000_000)
  })
})

describe.skipIf(PYTHON_HPACK_MISSING !== null)('beside the hpack of Python', () => {
  it('reads what Python writes, block after block, in tables of any size', () => {
    const samples = fc.sample(connections, { numRuns: 400, seed: 7541 })
    const encoded = pythonEncode(samples)
    for (const [at, blocks] of encoded.entries()) {
      const decoder = new HpackDecoder()
      const decoded = blocks.map((block) => decoder.decode(block, LIMITS))
      expect(decoded).toMatchObject((samples[at] ?? []).map((block) => fields(...block.fields)))
    }
  })

  it('takes and refuses the same blocks, and reads the same fields in them, where octets were changed', () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 3 })
    const samples = fc.sample(fc.tuple(connections, changes), { numRuns: 800, seed: 7541 })
    const mutated = pythonEncode(samples.map(([blocks]) => blocks)).map((blocks, at) => {
      for (const [place, octet] of samples[at]?.[1] ?? []) {
        const block = blocks[place % blocks.length]
        if (block !== undefined && block.length > 0) block[(place >> 3) % block.length] = octet
      }
      return blocks
    })

    const verdicts = { taken: 0, refused: 0 }
    const disagreements: unknown[] = []
    for (const [at, expected] of pythonDecode(mutated).entries()) {
      const decoder = new HpackDecoder()
      for (const [index, theirs] of expected.entries()) {
        const ours = decoder.decode(mutated[at]?.[index] ?? Buffer.alloc(0), LIMITS)
        if (!agree(ours, theirs)) disagreements.push({ at, index, ours, theirs })
        verdicts[ours.kind === 'bad' ? 'refused' : 'taken']++
        if (ours.kind === 'bad') break
      }
    }
    expect(disagreements).toEqual([])
    expect(verdicts.refused).toBeGreaterThan(100)
    expect(verdicts.taken).toBeGreaterThan(100)
  })
})

function agree(ours: HpackDecoded, theirs: readonly PythonField[] | null): boolean {
  if (theirs === null) return ours.kind === 'bad'
  // Python has no bound for an integer's octets, and none for the sizes before a block.
  if (ours.kind === 'bad') return ours.code === 'HPACK_INTEGER' || ours.code === 'HPACK_TABLE_SIZE'
  return isDeepStrictEqual(
    ours.fields,
    theirs.flatMap((field) => [field.name, field.value]),
  )
}
