import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ChunkedDecoder, encodeChunk, encodeLastChunk } from '../../src/core/chunked.ts'
import { LlhttpReader } from '../support/llhttp.ts'

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')

type Outcome =
  | { kind: 'data'; data: string }
  | { kind: 'done'; data: string; trailers: readonly string[]; rest: string }
  | { kind: 'bad'; code: string }

/** Pushes the pieces until the body is over; pieces after that count as rest. */
function decode(pieces: readonly Buffer[]): Outcome {
  const decoder = new ChunkedDecoder()
  let data = ''
  for (const [i, piece] of pieces.entries()) {
    const result = decoder.push(piece)
    if (result.kind === 'bad') return result
    data += Buffer.concat(result.data).toString('latin1')
    if (result.kind === 'done') {
      const rest = Buffer.concat([result.rest, ...pieces.slice(i + 1)]).toString('latin1')
      return { kind: 'done', data, trailers: result.trailers, rest }
    }
  }
  return { kind: 'data', data }
}
const decodeText = (text: string): Outcome => decode([latin1(text)])
const bytewise = (text: string): Outcome => decode(Array.from(latin1(text), (byte) => Buffer.of(byte)))
const bad = (code: string): Outcome => ({ kind: 'bad', code })
const done = (data: string, trailers: string[] = [], rest = ''): Outcome => ({ kind: 'done', data, trailers, rest })
const extension = (bytes: number): string => `;${'e'.repeat(bytes - 1)}`

describe('ChunkedDecoder', () => {
  it.each([
    ['an empty body', '0\r\n\r\n', done('')],
    ['chunks', '3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n', done('abcd')],
    ['line ends within the data', '4\r\n\r\n\r\n\r\n0\r\n\r\n', done('\r\n\r\n')],
    [
      'hex sizes in both cases, and leading zeros',
      '00a\r\n0123456789\r\n0A\r\n0123456789\r\n000\r\n\r\n',
      done('0123456789'.repeat(2)),
    ],
    ['a size of 15 digits', '000000000000001\r\na\r\n0\r\n\r\n', done('a')],
    ['what follows as rest', '1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n', done('a', [], 'GET / HTTP/1.1\r\n')],
    ['extensions, which it drops', '1;a;b=c;d="e;\\"\xe9\r"\r\n', bad('BAD_CHUNK_EXTENSION')],
    ['extensions', '1;a;b=c;d="e; \\"\xe9";f\r\na\r\n0;x="";y\r\n\r\n', done('a')],
    ['trailers', '0\r\nX-Sum: \t1 \r\nx-sum:\r\n\r\n', done('', ['X-Sum', '1', 'x-sum', ''])],
    ['a body that has not ended', '5\r\nabc', { kind: 'data', data: 'abc' }],
    ['no bytes', '', { kind: 'data', data: '' }],
  ] as [string, string, Outcome][])('reads %s', (_, text, outcome) => {
    expect(decodeText(text)).toEqual(outcome)
    expect(bytewise(text)).toEqual(outcome)
  })

  it.each([
    ['an empty size', '\r\n', 'BAD_CHUNK_SIZE'],
    ['a size that is no number', 'g\r\n', 'BAD_CHUNK_SIZE'],
    ['the byte before the digits', '/\r\n', 'BAD_CHUNK_SIZE'],
    ['the byte after the digits', ':\r\n', 'BAD_CHUNK_SIZE'],
    ['the byte before the letters', '@\r\n', 'BAD_CHUNK_SIZE'],
    ['a sign', '+1\r\na\r\n', 'BAD_CHUNK_SIZE'],
    ['a prefix', '0x1\r\na\r\n', 'BAD_CHUNK_SIZE'],
    ['an underscore', '1_0\r\n', 'BAD_CHUNK_SIZE'],
    ['a space before the size', ' 1\r\na\r\n', 'BAD_CHUNK_SIZE'],
    ['a space after the size', '1 \r\na\r\n', 'BAD_CHUNK_SIZE'],
    ['a size of 16 digits', '0000000000000001\r\n', 'BAD_CHUNK_SIZE'],
    ['a size past the safe integers', '20000000000000\r\n', 'BAD_CHUNK_SIZE'],
    ['a size that overflows 64 bits', '10000000000000003\r\nabc\r\n', 'BAD_CHUNK_SIZE'],
    ['a bare LF after the size', '1\na\r\n', 'BAD_CHUNK_SIZE'],
    ['a bare CR after the size', '1\ra\r\n', 'BAD_CHUNK_SIZE'],
    ['an extension without a name', '1;\r\n', 'BAD_CHUNK_EXTENSION'],
    ['an extension that begins with =', '1;=a\r\n', 'BAD_CHUNK_EXTENSION'],
    ['an extension without a value', '1;a=\r\n', 'BAD_CHUNK_EXTENSION'],
    ['a space in an extension', '1; a\r\n', 'BAD_CHUNK_EXTENSION'],
    ['a bare LF in an extension', '1;a\nb\r\n', 'BAD_CHUNK_EXTENSION'],
    ['a bare LF in a quoted extension', '1;a="\n"\r\n', 'BAD_CHUNK_EXTENSION'],
    ['an escaped CR', '1;a="\\\r\n"\r\n', 'BAD_CHUNK_EXTENSION'],
    ['two values', '1;a=b=c\r\n', 'BAD_CHUNK_EXTENSION'],
    ['text after a quoted value', '1;a="b"c\r\n', 'BAD_CHUNK_EXTENSION'],
    ['a bare CR after an extension', '1;a\rb\r\n', 'BAD_CHUNK_SIZE'],
    ['more data than the size says', '1\r\nab\r\n0\r\n\r\n', 'BAD_CHUNK_END'],
    ['a bare LF after the data', '1\r\na\n0\r\n\r\n', 'BAD_CHUNK_END'],
    ['a bare CR after the data', '1\r\na\r0\r\n\r\n', 'BAD_CHUNK_END'],
    ['a bare LF for the last line', '0\r\n\n', 'BARE_LF'],
    ['a bare CR for the last line', '0\r\n\rX: y\r\n\r\n', 'BAD_NAME'],
    ['no line end after the last chunk [B23]', '0\r\nX:POST', null],
    ['a trailer without a colon', '0\r\nX\r\n\r\n', 'BAD_NAME'],
    ['a trailer that ends in LF', '0\r\nX: y\n\r\n', 'BARE_LF'],
    ['a folded trailer', '0\r\nX: y\r\n z\r\n\r\n', 'OBS_FOLD'],
    ['NUL in a trailer', '0\r\nX: \0\r\n\r\n', 'BAD_VALUE'],
    ['a space before the colon of a trailer', '0\r\nContent-Length : 5\r\n\r\n', 'SPACE_BEFORE_COLON'],
    ['an underscore framing name', '0\r\nContent_Length: 5\r\n\r\n', 'UNDERSCORE_FRAMING'],
    ['trailers that route and frame [B34]', '0\r\nHost: evil\r\nContent-Length: 9\r\n\r\n', 'FORBIDDEN_TRAILER'],
  ])('does not accept %s', (_, text, code) => {
    const outcome = code === null ? { kind: 'data', data: '' } : bad(code)
    expect(decodeText(text)).toEqual(outcome)
    expect(bytewise(text)).toEqual(outcome)
  })

  it.each([
    'Transfer-Encoding',
    'content-length',
    'HOST',
    'Connection',
    'Keep-Alive',
    'Proxy-Connection',
    'Proxy-Authorization',
    'Proxy-Authenticate',
    'TE',
    'Trailer',
    'Upgrade',
    'Expect',
  ])('refuses %s as a trailer [B34]', (name) => {
    expect(decodeText(`0\r\n${name}: x\r\n\r\n`)).toEqual(bad('FORBIDDEN_TRAILER'))
  })

  it('hands out views, and data before the body has ended', () => {
    const bytes = latin1('3\r\nabc\r\n2\r\nd')
    const result = new ChunkedDecoder().push(bytes)
    expect(result).toEqual({ kind: 'data', data: [latin1('abc'), latin1('d')] })
    bytes.fill('z')
    expect(result).toEqual({ kind: 'data', data: [latin1('zzz'), latin1('z')] })
  })

  it('never reads on after a broken chunk [B24]', () => {
    const decoder = new ChunkedDecoder()
    expect(decoder.push(latin1('z\r\n'))).toEqual(bad('BAD_CHUNK_SIZE'))
    expect(decoder.push(latin1('0\r\n\r\nGET /secret HTTP/1.1\r\n\r\n'))).toEqual(bad('BAD_CHUNK_SIZE'))
  })
  it('never reads on after the last chunk', () => {
    const decoder = new ChunkedDecoder()
    expect(decoder.push(latin1('0\r\n\r\n')).kind).toBe('done')
    expect(decoder.push(latin1('0\r\n\r\n'))).toEqual(bad('AFTER_LAST_CHUNK'))
  })
})

describe('bounds of ChunkedDecoder', () => {
  const TOO_LARGE = bad('CHUNK_EXTENSION_TOO_LARGE')
  it.each([
    ['one extension of 4 KiB', `1${extension(4096)}\r\na\r\n0\r\n\r\n`, done('a')],
    ['one extension over 4 KiB', `1${extension(4097)}\r\n`, TOO_LARGE],
    ['an endless extension [B22]', `1${extension(100_000)}`, TOO_LARGE],
    ['16 KiB of extensions', `${`1${extension(1024)}\r\na\r\n`.repeat(16)}0\r\n\r\n`, done('a'.repeat(16))],
    ['over 16 KiB of extensions [B22]', `${`1${extension(1024)}\r\na\r\n`.repeat(16)}0;e`, TOO_LARGE],
    ['16 KiB of trailers', `0\r\nX: ${'x'.repeat(16 * 1024 - 7)}\r\n\r\n`, done('', ['X', 'x'.repeat(16 * 1024 - 7)])],
    ['over 16 KiB of trailers', `0\r\nX: ${'x'.repeat(16 * 1024 - 6)}\r\n\r\n`, bad('TRAILERS_TOO_LARGE')],
    ['an endless trailer', `0\r\n${'x'.repeat(16 * 1024 + 1)}`, bad('TRAILERS_TOO_LARGE')],
    [
      '100 trailers',
      `0\r\n${'X: y\r\n'.repeat(100)}\r\n`,
      done('', Array.from({ length: 100 }, () => ['X', 'y']).flat()),
    ],
    ['101 trailers', `0\r\n${'X: y\r\n'.repeat(101)}\r\n`, bad('TOO_MANY_TRAILERS')],
  ] as [string, string, Outcome][])('%s', (_, text, outcome) => {
    expect(decodeText(text)).toEqual(outcome)
    expect(bytewise(text)).toEqual(outcome)
  })
})

const payload = fc
  .array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 })
  .map((parts) => parts.map((part) => Buffer.from(part)))
const trailers = fc
  .array(fc.tuple(fc.constantFrom('X-Sum', 'grpc-status'), fc.constantFrom('', '1', 'a b')), { maxLength: 3 })
  .map((fields) => fields.flat())

/** Bodies that are valid, or one or two bytes from it. */
const almostValid = fc
  .tuple(
    fc.array(fc.constantFrom('3\r\nabc\r\n', 'A;x=1\r\n0123456789\r\n', '1;q="\\"a"\r\n\n\r\n', '0001;a;b\r\nz\r\n'), {
      maxLength: 3,
    }),
    fc.constantFrom('0\r\n\r\n', '000;x\r\n\r\n', '0\r\nX-Sum: 1\r\nY:\t2 \r\n\r\n', '0\r\nTrailer: x\r\n\r\n'),
    fc.array(
      fc.record({
        at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
        removed: fc.integer({ min: 0, max: 1 }),
        inserted: fc.constantFrom('', '\r\n', ...'\r\n\t 0a1;="\\:,x\0\x7f\xff'.split('')),
      }),
      { maxLength: 2 },
    ),
  )
  .map(([chunks, last, changes]) =>
    changes.reduce(
      (text, { at, removed, inserted }) => {
        const i = Math.floor(at * text.length)
        return text.slice(0, i) + inserted + text.slice(i + removed)
      },
      `${chunks.join('')}${last}`,
    ),
  )

function cut(text: string, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => place % (text.length + 1)), text.length].toSorted((a, b) => a - b)
  return at.slice(1).map((end, i) => latin1(text.slice(at[i], end)))
}

describe('properties of the chunked coding', () => {
  it('reads back what was encoded, and what follows is rest', () => {
    fc.assert(
      fc.property(payload, trailers, fc.constantFrom('', 'GET / HTTP/1.1\r\n'), (parts, fields, rest) => {
        const wire = Buffer.concat([...parts.flatMap(encodeChunk), encodeLastChunk(fields), latin1(rest)])
        expect(decode([wire])).toEqual(done(Buffer.concat(parts).toString('latin1'), fields, rest))
      }),
    )
  })

  it('does not depend on how the bytes are split', () => {
    fc.assert(
      fc.property(almostValid, fc.array(fc.nat(200), { maxLength: 8 }), (text, places) => {
        const whole = decodeText(`${text}rest`)
        expect(decode(cut(`${text}rest`, places))).toEqual(whole)
        expect(bytewise(`${text}rest`)).toEqual(whole)
      }),
      { numRuns: 2000 },
    )
  })

  it('accepts nothing that llhttp reads in another way', () => {
    const head = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
    let accepted = 0
    fc.assert(
      fc.property(almostValid, (text) => {
        const ours = decodeText(text)
        if (ours.kind !== 'done') return
        accepted++
        const wire = latin1(`${head}${text.slice(0, text.length - ours.rest.length)}`)
        const reader = new LlhttpReader('request').push(wire.subarray(0, -1))
        expect(reader.reading).toMatchObject({ complete: 0, error: null })
        const { body, trailers: fields, complete, error } = reader.push(wire.subarray(-1)).reading
        expect({ body, fields, complete, error }).toEqual({
          body: ours.data,
          fields: ours.trailers,
          complete: 1,
          error: null,
        })
      }),
      { numRuns: 5000 },
    )
    expect(accepted).toBeGreaterThan(500)
  })
})

describe('encoding', () => {
  it('writes size line, data and line end, and does not copy the data', () => {
    const data = Buffer.alloc(26, 'a')
    const [size, same, end] = encodeChunk(data)
    expect([size, end]).toEqual([latin1('1a\r\n'), latin1('\r\n')])
    expect(same).toBe(data)
  })
  it('writes nothing for no data: an empty chunk would end the body', () => {
    expect(encodeChunk(Buffer.alloc(0))).toEqual([])
  })
  it('writes the last chunk with and without trailers', () => {
    expect(encodeLastChunk([])).toEqual(latin1('0\r\n\r\n'))
    expect(encodeLastChunk(['grpc-status', '0'])).toEqual(latin1('0\r\ngrpc-status: 0\r\n\r\n'))
  })
  it('throws on a trailer that would end the line', () => {
    expect(() => encodeLastChunk(['A', 'b\r\n\r\nGET / HTTP/1.1'])).toThrow(/CR or LF/)
  })
})
