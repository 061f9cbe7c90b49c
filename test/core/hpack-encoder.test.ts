import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HpackDecoder, HpackEncoder, type HpackLimits } from '../../src/core/hpack.ts'
import { PYTHON_HPACK_MISSING, pythonDecode } from '../support/python-hpack.ts'

const LIMITS: HpackLimits = { maxListBytes: 64 * 1024, maxFields: 200, maxStringBytes: 64 * 1024 }

/** The blocks of one connection, in hex. */
function encoded(...lists: string[][]): string[] {
  const encoder = new HpackEncoder()
  return lists.map((list) => encoder.encode(list).toString('hex'))
}

type Step = readonly string[] | number

/** Field lists, and between them new sizes of the peer's table. */
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.array(fieldOf(), { maxLength: 8 }).map((pairs): Step => pairs.flat()) },
    { weight: 2, arbitrary: fc.constantFrom(0, 40, 100, 300, 4095, 4096, 4097, 65_536) },
  ),
  { maxLength: 14 },
)

function fieldOf(): fc.Arbitrary<string[]> {
  return fc.tuple(
    fc.constantFrom(':method', ':path', ':status', ':authority', 'user-agent', 'vary', 'authorization', 'x-own', 'te'),
    fc.oneof(
      fc.constantFrom(
        '',
        'GET',
        '/',
        '200',
        'trailers',
        'a'.repeat(126),
        'b'.repeat(127),
        'c'.repeat(300),
        'd'.repeat(600),
      ),
      fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 300 }),
    ),
  )
}

function write(all: readonly Step[]): { blocks: Buffer[]; lists: (readonly string[])[] } {
  const encoder = new HpackEncoder()
  const written: { blocks: Buffer[]; lists: (readonly string[])[] } = { blocks: [], lists: [] }
  for (const step of all) {
    if (typeof step === 'number') encoder.setMaxTableBytes(step)
    else {
      written.blocks.push(encoder.encode(step))
      written.lists.push(step)
    }
  }
  return written
}

describe('HpackEncoder', () => {
  it('writes what RFC 7541 C.3 writes, and an index for a field that comes again', () => {
    const get = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com']
    expect(encoded(get, [...get, 'cache-control', 'no-cache'], [...get, 'cache-control', 'no-cache'])).toEqual([
      '828684410f7777772e6578616d706c652e636f6d',
      '828684be58086e6f2d6361636865',
      '828684bfbe',
    ])
  })

  it.each([
    ['a field of the static table', ['accept-encoding', 'gzip, deflate'], '90'],
    ['an empty value of the static table', ['accept', ''], '93'],
    ['a value of the static table under another name', ['x-own', 'GET'], '1005782d6f776e03474554'],
    ['a new value of a name that repeats', ['te', 'trailers'], '4002746508747261696c657273'],
    ['a path', [':path', '/a'], '14022f61'],
    ['a length', ['content-length', '15'], '1f0d023135'],
    ['an empty name', ['', ''], '100000'],
    ['any octets', ['x', '\0\r\n\xff'], '10017804000d0aff'],
    ['a value of 126 octets', ['x', 'v'.repeat(126)], `1001787e${'76'.repeat(126)}`],
    ['a value of 127 octets', ['x', 'v'.repeat(127)], `1001787f00${'76'.repeat(127)}`],
    ['a value of 254 octets', ['x', 'v'.repeat(254)], `1001787f7f${'76'.repeat(254)}`],
    ['a value of 255 octets', ['x', 'v'.repeat(255)], `1001787f8001${'76'.repeat(255)}`],
    ['a value of 1464 octets', ['x', 'v'.repeat(1464)], `1001787fb90a${'76'.repeat(1464)}`],
  ])('writes %s', (_, list, block) => {
    expect(encoded(list)).toEqual([block])
  })

  it.each([
    'authorization',
    'proxy-authorization',
    'cookie',
    'set-cookie',
    'x-api-key',
    'mcp-session-id',
    ':path',
    'x-a-name-nobody-knows',
  ])('never indexes %s, and finds nothing of it in the table', (name) => {
    const [first, second] = encoded([name, 'secret'], [name, 'secret'])
    expect(first).toBe(second)
    expect(Number.parseInt(first?.slice(0, 1) ?? '', 16)).toBe(1)
    expect(first).toContain(Buffer.from('secret').toString('hex'))
  })

  it('indexes an entry of an eighth of the table, and none of one octet more', () => {
    const agent = (bytes: number): string[] => ['user-agent', 'a'.repeat(bytes - 'user-agent'.length - 32)]
    expect(encoded(agent(512), agent(512))[1]).toBe('be')
    const [first, second] = encoded(agent(513), agent(513))
    expect(second).toBe(first)
    expect(first?.startsWith('1f2b')).toBe(true)
  })

  it('counts an index back from the newest entry, over more than one octet', () => {
    const values = Array.from({ length: 70 }, (_, at) => `${at}`)
    const [, oldest, newest] = encoded(
      values.flatMap((value) => ['te', value]),
      ['te', '0'],
      ['te', '69'],
    )
    expect(oldest).toBe('ff04')
    expect(newest).toBe('be')
  })

  it('forgets what the table evicts, and indexes it again', () => {
    const agents = Array.from({ length: 10 }, (_, at) => ['user-agent', `${at}`.padEnd(470, '.')])
    const encoder = new HpackEncoder()
    const sizes = (): number[] => agents.map((agent) => encoder.encode(agent).length)
    expect(sizes().every((size) => size > 470)).toBe(true)
    expect(sizes().every((size) => size > 470)).toBe(true)
    expect(encoder.encode(agents.at(-1) ?? [])).toHaveLength(1)
  })

  it.each([
    ['the default', [4096], ''],
    ['more than we use', [65_536], ''],
    ['RFC 7541 C.1.1', [10], '2a'],
    ['RFC 7541 C.1.2', [1337], '3f9a0a'],
    ['none', [0], '20'],
    ['none, and then the default', [0, 4096], '203fe11f'],
    ['none, and then more than we use', [0, 65_536], '203fe11f'],
    ['less and less', [300, 200], '3fa901'],
    ['less, and then a little more', [200, 300], '3fa9013f8d02'],
    ['less, then more, then in between', [200, 4096, 300], '3fa9013f8d02'],
    ['the same again', [300, 300], '3f8d02'],
  ])('announces the smallest size and the last one, once: %s', (_, sizes, announced) => {
    const encoder = new HpackEncoder()
    for (const size of sizes) encoder.setMaxTableBytes(size)
    expect(encoder.encode([':method', 'GET']).toString('hex')).toBe(`${announced}82`)
    expect(encoder.encode([':method', 'GET']).toString('hex')).toBe('82')
  })

  it('uses all of the table that it announced last', () => {
    const encoder = new HpackEncoder()
    encoder.setMaxTableBytes(0)
    encoder.setMaxTableBytes(42)
    expect(encoder.encode(['te', 'trailers', 'te', 'trailers']).toString('hex')).toBe(
      '203f0b4002746508747261696c657273be',
    )
  })

  it('announces a growth alone', () => {
    const encoder = new HpackEncoder()
    encoder.setMaxTableBytes(0)
    encoder.encode([])
    encoder.setMaxTableBytes(4096)
    expect(encoder.encode([]).toString('hex')).toBe('3fe11f')
  })

  it('indexes nothing that the table of the peer can not hold', () => {
    const encoder = new HpackEncoder()
    encoder.setMaxTableBytes(41)
    expect(encoder.encode(['te', 'trailers']).toString('hex')).toBe('3f0a1002746508747261696c657273')
    encoder.setMaxTableBytes(42)
    expect(encoder.encode(['te', 'trailers']).toString('hex')).toBe('3f0b4002746508747261696c657273')
    expect(encoder.encode(['te', 'trailers']).toString('hex')).toBe('be')
    expect(encoder.encode(['te', 'gzip']).toString('hex')).toBe('4002746504677a6970')
  })

  it('is read by HpackDecoder as what was written, block after block, in tables of any size', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const { blocks, lists } = write(all)
        const decoder = new HpackDecoder()
        for (const [at, block] of blocks.entries()) {
          const list = lists[at] ?? []
          expect(decoder.decode(block, LIMITS)).toEqual({
            kind: 'fields',
            fields: list,
            listBytes: list.join('').length + 16 * list.length,
            tooLarge: false,
          })
        }
      }),
      { numRuns: 500 },
    )
  })

  it.skipIf(PYTHON_HPACK_MISSING !== null)('is read by the hpack of Python as what was written', () => {
    const written = fc.sample(steps, { numRuns: 400, seed: 7541 }).map(write)
    const read = pythonDecode(written.map(({ blocks }) => blocks))
    for (const [at, blocks] of read.entries()) {
      expect(blocks.map((block) => block?.flatMap((field) => [field.name, field.value]))).toEqual(written[at]?.lists)
    }
    const fields = read.flat().flatMap((block) => block ?? [])
    const credentials = fields.filter(({ name, value }) => name === 'authorization' && value !== '')
    expect(credentials.length).toBeGreaterThan(100)
    expect(credentials.every((field) => field.neverIndexed)).toBe(true)
  })
})
