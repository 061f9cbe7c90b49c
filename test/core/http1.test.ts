import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  HEAD_LIMITS,
  headerValue,
  headerValues,
  soleValue,
  parseRequestHead,
  parseStatusHead,
  serializeHead,
  serializeHeadText,
} from '../../src/core/http1.ts'

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')
const request = (text: string): ReturnType<typeof parseRequestHead> => parseRequestHead(latin1(text))
const status = (text: string): ReturnType<typeof parseStatusHead> => parseStatusHead(latin1(text))
const malformed = (code: string): object => ({ kind: 'bad', reason: 'malformed', code })
const tooLarge = (code: string): object => ({ kind: 'bad', reason: 'header_too_large', code })
const fieldLines = (count: number): string => 'X: y\r\n'.repeat(count)

/** What each prefix of `text` answers, the empty one first and the whole last. */
const everyPrefix = (parse: (bytes: Buffer) => unknown, text: string): unknown[] =>
  Array.from({ length: text.length + 1 }, (_, end) => parse(latin1(text).subarray(0, end)))

/** The same, as it must be: `more`, until `answer` at that many bytes and for good. */
const moreUntil = (bytes: number, answer: object, text: string): unknown[] =>
  Array.from({ length: text.length + 1 }, (_, end) => (end < bytes ? { kind: 'more' } : answer))

describe('parseRequestHead', () => {
  it('takes a head and counts its bytes, not those of the body', () => {
    const head = 'POST /a?b HTTP/1.1\r\nHost: a.test\r\nX-Dup: 1\r\nx-dup: \t2\t\r\n\r\n'
    expect(request(`${head}body\r\n\r\n`)).toEqual({
      kind: 'head',
      head: {
        method: 'POST',
        target: '/a?b',
        version: '1.1',
        headers: ['Host', 'a.test', 'X-Dup', '1', 'x-dup', '2'],
      },
      bytes: head.length,
    })
  })

  it.each([
    ['no field at all', 'GET / HTTP/1.0\r\n\r\n', 'GET', '/', '1.0'],
    ['one empty line before it (RFC 9112 §2.2)', '\r\nGET / HTTP/1.1\r\n\r\n', 'GET', '/', '1.1'],
    ['a lower-case method as a method of its own [B33]', 'get / HTTP/1.1\r\n\r\n', 'get', '/', '1.1'],
    ['an unknown method [B33]', 'FOO / HTTP/1.1\r\n\r\n', 'FOO', '/', '1.1'],
    ['a method of 64 characters', `${'M'.repeat(64)} / HTTP/1.1\r\n\r\n`, 'M'.repeat(64), '/', '1.1'],
    ['the authority-form', 'CONNECT a.test:443 HTTP/1.1\r\n\r\n', 'CONNECT', 'a.test:443', '1.1'],
    ['the absolute-form', 'GET http://a.test/ HTTP/1.1\r\n\r\n', 'GET', 'http://a.test/', '1.1'],
    ['the asterisk-form', 'OPTIONS * HTTP/1.1\r\n\r\n', 'OPTIONS', '*', '1.1'],
    ['every printable byte in a target', 'GET /!"#\\^`{|}~ HTTP/1.1\r\n\r\n', 'GET', '/!"#\\^`{|}~', '1.1'],
  ])('takes %s', (_, text, method, target, version) => {
    expect(request(text)).toEqual({ kind: 'head', head: { method, target, version, headers: [] }, bytes: text.length })
  })

  it.each([
    ['an empty method', ' / HTTP/1.1\r\n', 'BAD_METHOD', 1],
    ['a method that is no token [B33]', 'G=":<> / HTTP/1.1\r\n', 'BAD_METHOD', 2],
    ['an endless method [B33]', `${'M'.repeat(300)} / HTTP/1.1\r\n`, 'BAD_METHOD', 65],
    ['a method alone', 'GET\r\n', 'BAD_METHOD', 4],
    ['a TLS ClientHello [B45]', '\x16\x03\x01\x02\0\x01\0', 'BAD_METHOD', 1],
    ['the HTTP/2 preface [B45]', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'BAD_VERSION', 12],
    ['a bare LF first', '\nGET / HTTP/1.1\r\n', 'BARE_LF', 1],
    ['a bare CR first', '\rGET / HTTP/1.1\r\n', 'BAD_METHOD', 2],
    ['two empty lines before it', '\r\n\r\nGET / HTTP/1.1\r\n', 'BAD_METHOD', 3],
    ['a bare LF after the method', 'GET\n', 'BARE_LF', 4],
    ['two spaces', 'GET  / HTTP/1.1\r\n', 'BAD_TARGET', 5],
    ['a tab for the space', 'GET\t/ HTTP/1.1\r\n', 'BAD_METHOD', 4],
    ['a tab in the target', 'GET /\ta HTTP/1.1\r\n', 'BAD_TARGET', 6],
    ['NUL in the target', 'GET /\0 HTTP/1.1\r\n', 'BAD_TARGET', 6],
    ['raw 8-bit bytes in the target', 'GET /\xe9 HTTP/1.1\r\n', 'BAD_TARGET', 6],
    ['HTTP/0.9 [B31]', 'GET /\r\n\r\n', 'HTTP_09', 6],
    ['no target', 'GET \r\n\r\n', 'HTTP_09', 5],
    ['a bare LF after the target', 'GET /\n', 'BARE_LF', 6],
    ['a space after the target only', 'GET / \r\n\r\n', 'BAD_VERSION', 7],
    ['HTTP/0.9 by number [B31]', 'GET / HTTP/0.9\r\n', 'BAD_VERSION', 12],
    ['HTTP/1.2 [B31]', 'GET / HTTP/1.2\r\n', 'BAD_VERSION', 14],
    ['HTTP/5.6 [B31]', 'GET / HTTP/5.6\r\n', 'BAD_VERSION', 12],
    ['a version that overflows [B31]', 'GET / HTTP/4294967295.255\r\n', 'BAD_VERSION', 12],
    ['HTTP/1.10', 'GET / HTTP/1.10\r\n', 'BAD_VERSION', 15],
    ['a lower-case version', 'GET / http/1.1\r\n', 'BAD_VERSION', 7],
    ['a space after the version', 'GET / HTTP/1.1 \r\n', 'BAD_VERSION', 15],
    ['a bare CR after the version', 'GET / HTTP/1.1\rHost: a\r\n', 'BAD_VERSION', 16],
    ['bare LF line ends [B13]', 'GET / HTTP/1.1\nHost: a\n\n', 'BARE_LF', 15],
    ['a bare LF after a field [B13]', 'GET / HTTP/1.1\r\nHost: a\n\n', 'BARE_LF', 24],
    ['a bare LF for the empty line', 'GET / HTTP/1.1\r\nHost: a\r\n\n', 'BARE_LF', 26],
    ['a bare CR for the empty line', 'GET / HTTP/1.1\r\nHost: a\r\n\rX', 'BARE_CR', 27],
    ['a folded value [B10]', 'GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n', 'OBS_FOLD', 23],
    ['a folded coding [B10]', 'GET / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n', 'OBS_FOLD', 37],
    ['an indented first field [B09]', 'GET / HTTP/1.1\r\n Host: a\r\n\r\n', 'OBS_FOLD', 17],
    ['an underscore framing name [B41]', 'GET / HTTP/1.1\r\nContent_Length: 5\r\n\r\n', 'UNDERSCORE_FRAMING', 31],
  ])('refuses %s at its first wrong byte', (_, text, code, firstBad) => {
    expect(everyPrefix(parseRequestHead, text)).toEqual(moreUntil(firstBad, malformed(code), text))
  })
})

describe('limits of a head', () => {
  const limits = { maxHeadBytes: 40, maxHeaderCount: 3 }
  const sized = (bytes: number): Buffer => latin1(`GET /${'a'.repeat(bytes - 18)} HTTP/1.1\r\n\r\n`)

  it('takes a head of exactly the limit, whatever follows', () => {
    expect(parseRequestHead(sized(40), limits)).toMatchObject({ kind: 'head', bytes: 40 })
    expect(parseRequestHead(Buffer.concat([sized(40), Buffer.alloc(100)]), limits)).toMatchObject({ bytes: 40 })
  })
  it('refuses a finished head of one byte more', () => {
    expect(parseRequestHead(sized(41), limits)).toEqual(tooLarge('HEAD_TOO_LARGE'))
  })
  it('refuses an unfinished head once the limit is reached, not before', () => {
    expect(parseRequestHead(Buffer.alloc(39, 'GET /aaa'), limits)).toEqual(malformed('BAD_VERSION'))
    expect(parseRequestHead(sized(60).subarray(0, 39), limits)).toEqual({ kind: 'more' })
    expect(parseRequestHead(sized(60).subarray(0, 40), limits)).toEqual(tooLarge('HEAD_TOO_LARGE'))
  })
  it('refuses a request line of 64 KiB [B44]', () => {
    expect(request(`GET /${'a'.repeat(64 * 1024)}`)).toEqual(tooLarge('HEAD_TOO_LARGE'))
  })
  it('calls a head malformed whose fault lies before the limit', () => {
    expect(request(`GET /\t${'a'.repeat(64 * 1024)}`)).toEqual(malformed('BAD_TARGET'))
  })
  it.each([
    [HEAD_LIMITS.maxHeaderCount, 'head'],
    [HEAD_LIMITS.maxHeaderCount + 1, 'bad'],
  ])('with %i fields gives %s', (count, kind) => {
    expect(request(`GET / HTTP/1.1\r\n${fieldLines(count)}\r\n`).kind).toBe(kind)
  })
  it('refuses one field too many as soon as it begins', () => {
    const text = `GET / HTTP/1.1\r\n${fieldLines(4)}`
    const parse = (bytes: Buffer): unknown => parseRequestHead(bytes, { maxHeadBytes: 100, maxHeaderCount: 3 })
    const firstBad = text.length - fieldLines(1).length + 1
    expect(everyPrefix(parse, text)).toEqual(moreUntil(firstBad, tooLarge('TOO_MANY_HEADERS'), text))
  })
})

describe('what follows a head', () => {
  it('changes nothing of it, be it short or long', () => {
    const text = fc.array(
      fc.constantFrom('GET / HTTP/1.1\r\n', 'HTTP/1.1 200 OK\r\n', 'A: b\r\n', 'A : b\r\n', 'A:b \r\n', '\r\n', 'x'),
    )
    fc.assert(
      fc.property(fc.constantFrom(parseRequestHead, parseStatusHead), text, (parse, pieces) => {
        const head = latin1(`${pieces.join('')}\r\n\r\n`)
        expect(parse(Buffer.concat([head, Buffer.alloc(3000, '\r\n')]))).toEqual(parse(head))
      }),
      { numRuns: 1000 },
    )
  })
  it('is not read as text up to the limit of a head', () => {
    const limits = { maxHeadBytes: 5000, maxHeaderCount: 3 }
    const long = (bytes: number): Buffer => latin1(`GET /${'a'.repeat(bytes - 18)} HTTP/1.1\r\n\r\n`)
    expect(parseRequestHead(long(5000), limits)).toMatchObject({ kind: 'head', bytes: 5000 })
    expect(parseRequestHead(long(5001), limits)).toEqual(tooLarge('HEAD_TOO_LARGE'))
  })
})

describe('parseStatusHead', () => {
  it.each([
    ['a usual one', 'HTTP/1.1 200 OK\r\nA: b\r\n\r\n', 200, 'OK', '1.1', ['A', 'b']],
    ['HTTP/1.0', 'HTTP/1.0 404 Not Found\r\n\r\n', 404, 'Not Found', '1.0', []],
    ['an empty reason', 'HTTP/1.1 200 \r\n\r\n', 200, '', '1.1', []],
    ['a missing reason', 'HTTP/1.1 200\r\n\r\n', 200, '', '1.1', []],
    ['obs-text and blanks in the reason', 'HTTP/1.1 599 \xe9  \t!\r\n\r\n', 599, '\xe9  \t!', '1.1', []],
    ['an interim one', 'HTTP/1.1 100 Continue\r\n\r\n', 100, 'Continue', '1.1', []],
  ])('takes %s', (_, text, code, statusText, version, headers) => {
    const head = { status: code, statusText, version, headers }
    const answer = { kind: 'head', head, bytes: text.length }
    expect(everyPrefix(parseStatusHead, `${text}rest`)).toEqual(moreUntil(text.length, answer, `${text}rest`))
  })

  it.each([
    ['an empty line before it', '\r\nHTTP/1.1 200 OK\r\n', 'BAD_VERSION', 1],
    ['another protocol', 'ICY 200 OK\r\n', 'BAD_VERSION', 1],
    ['another version', 'HTTP/1.2 200 OK\r\n', 'BAD_VERSION', 8],
    ['HTTP/2', 'HTTP/2 200\r\n', 'BAD_VERSION', 6],
    ['a version that ends in LF', 'HTTP/1.1\n', 'BARE_LF', 9],
    ['no status', 'HTTP/1.1 \r\n', 'BAD_STATUS', 10],
    ['two spaces', 'HTTP/1.1  200\r\n', 'BAD_STATUS', 10],
    ['a status under 100', 'HTTP/1.1 099 OK\r\n', 'BAD_STATUS', 10],
    ['a status over 599', 'HTTP/1.1 600 OK\r\n', 'BAD_STATUS', 10],
    ['two digits', 'HTTP/1.1 20 OK\r\n', 'BAD_STATUS', 12],
    ['four digits', 'HTTP/1.1 2000 OK\r\n', 'BAD_STATUS', 13],
    ['a sign', 'HTTP/1.1 +20 OK\r\n', 'BAD_STATUS', 10],
    ['LF after the status', 'HTTP/1.1 200\n', 'BARE_LF', 13],
    ['CR alone after the status', 'HTTP/1.1 200\rX\r\n', 'BARE_CR', 14],
    ['LF after the reason', 'HTTP/1.1 200 OK\n', 'BARE_LF', 16],
    ['NUL in the reason', 'HTTP/1.1 200 O\0K\r\n', 'BAD_REASON', 15],
    ['a bad field', 'HTTP/1.1 200 OK\r\nA : b\r\n', 'SPACE_BEFORE_COLON', 19],
  ])('refuses %s at its first wrong byte', (_, text, code, firstBad) => {
    expect(everyPrefix(parseStatusHead, text)).toEqual(moreUntil(firstBad, malformed(code), text))
  })

  it('has the same limits as a request', () => {
    expect(status(`HTTP/1.1 200 ${'a'.repeat(64 * 1024)}`)).toEqual(tooLarge('HEAD_TOO_LARGE'))
    expect(status(`HTTP/1.1 200 OK\r\n${fieldLines(201)}\r\n`)).toEqual(tooLarge('TOO_MANY_HEADERS'))
    const limits = { maxHeadBytes: 100, maxHeaderCount: 0 }
    expect(parseStatusHead(latin1('HTTP/1.1 200 OK\r\n\r\n'), limits)).toMatchObject({ kind: 'head' })
  })
})

const ofClass = (alphabet: string, minLength: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...alphabet.split('')), minLength, maxLength: 12 })
const token = ofClass("abcXYZ019!#$%&'*+-.^`|~", 1)
const value = ofClass('abc :,;"\t\\=\x80\xa0\xff', 0).map((text) => text.replace(/^[ \t]+|[ \t]+$/g, ''))
const headerFields = fc.array(fc.tuple(token, value), { maxLength: 5 }).map((fields) => fields.flat())
const noise = fc
  .string({ unit: fc.constantFrom(...'GET / HTTP/1.1\r\n:\t\0\xffa'.split('')), maxLength: 60 })
  .map(latin1)

describe('properties of a head', () => {
  it('reads back what serializeHead wrote, and answers more to every prefix of it', () => {
    fc.assert(
      fc.property(
        token,
        ofClass('/?#%&\\a', 1),
        fc.constantFrom('1.0', '1.1'),
        headerFields,
        (method, target, version, fields) => {
          const bytes = serializeHead(`${method} ${target} HTTP/${version}`, fields)
          const text = bytes.toString('latin1')
          const head = { method, target, version, headers: fields }
          const answer = { kind: 'head', head, bytes: bytes.length }
          expect(everyPrefix(parseRequestHead, text)).toEqual(moreUntil(bytes.length, answer, text))
        },
      ),
    )
  })

  it('never changes its mind: what a prefix is refused for, or read as, more bytes do not change', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(parseRequestHead, parseStatusHead),
        fc.boolean(),
        noise,
        noise,
        (parse, valid, a, b) => {
          const first = valid ? Buffer.concat([latin1('GET / HTTP/1.1\r\nA: b\r\n'), a]) : a
          const early = parse(first)
          const late = parse(Buffer.concat([first, b]))
          expect(early.kind === 'more' ? early : late).toEqual(early)
        },
      ),
      { numRuns: 2000 },
    )
  })
})

describe('serializeHead', () => {
  it('writes latin1, order, case and duplicates as given', () => {
    const bytes = serializeHead('HTTP/1.1 200 \xe9', ['b', '1', 'A', '', 'b', '\xff'])
    expect(bytes).toEqual(latin1('HTTP/1.1 200 \xe9\r\nb: 1\r\nA: \r\nb: \xff\r\n\r\n'))
  })

  const bad = ['\r', '\n', '\r\n', '\n\r', '\0', '\u0100', '\u560a', '\u{1f600}']
  it.each(
    bad.flatMap((text): [string, string, string[]][] => [
      [`${JSON.stringify(text)} in the start line`, `GET /${text} HTTP/1.1`, []],
      [`${JSON.stringify(text)} in a name`, 'GET / HTTP/1.1', [`A${text}`, 'b']],
      [`${JSON.stringify(text)} in a value`, 'GET / HTTP/1.1', ['A', `b${text}Transfer-Encoding: chunked`]],
    ]),
  )('throws on %s', (_, startLine, fields) => {
    expect(() => serializeHead(startLine, fields)).toThrow(/a head to be sent contains/)
  })
  it('as text says the same, and throws the same', () => {
    expect(serializeHeadText('HTTP/1.1 200 \xe9', ['b', '1'])).toBe('HTTP/1.1 200 \xe9\r\nb: 1\r\n\r\n')
    expect(() => serializeHeadText('GET / HTTP/1.1', ['A', 'b\r\nC: d'])).toThrow(/a head to be sent contains/)
  })
  it('throws where a part brings what another lacks', () => {
    expect(() => serializeHead('GET / HTTP/1.1', ['A', 'b\r', 'C', 'd\n'])).toThrow(/a CR or LF of its own/)
  })
  it('throws on half a field', () => {
    expect(() => serializeHead('GET / HTTP/1.1', ['A'])).toThrow(/half a field/)
  })
})

describe('soleValue', () => {
  it.each<[string, string[], string | null]>([
    ['absent', ['B', '1'], null],
    ['there once', ['B', '1', 'a', '2'], '2'],
    ['there twice', ['A', '1', 'a', '2'], ''],
    ['there twice with one value', ['A', '1', 'A', '1'], ''],
  ])('of a field that is %s', (_name, headers, expected) => {
    expect(soleValue(headers, 'a')).toBe(expected)
  })
})

describe('headerValue and headerValues', () => {
  const fields = ['Host', 'a', 'X-A', '1', 'x-a', '', 'y-b', 'Host', 'Odd']
  it.each([
    ['host', 'a', ['a']],
    ['x-a', '1', ['1', '']],
    ['y-b', 'Host', ['Host']],
    ['x-b', null, []],
    ['none', null, []],
    ['odd', null, []],
  ])('%s', (name, first, all) => {
    expect(headerValue(fields, name)).toBe(first)
    expect(headerValues(fields, name)).toEqual(all)
  })
  it('finds nothing in no headers', () => {
    expect([headerValue([], 'a'), headerValues([], 'a')]).toEqual([null, []])
  })
})
