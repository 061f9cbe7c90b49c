// Requests as clients send them, and what an attacker makes of their bytes: the corpus of the differential test.

import * as fc from 'fast-check'
import type { Spelling } from './smuggling.ts'

/** A stream of requests, what was done to it (nothing: it is valid), and where it is cut into segments. */
export interface Mutated {
  /** latin1. */
  readonly text: string
  readonly intact: boolean
  readonly cuts: readonly number[]
}

const FIELDS = [
  'Accept: */*\r\n',
  'X-Empty:\r\n',
  'Cookie: a=1; b=2\r\n',
  'Connection: keep-alive\r\n',
  'X-Latin1: caf\xe9\r\n',
  'X-List: a, b\r\nx-list: c\r\n',
  'Content-Type: text/plain\r\n',
  'TE: trailers\r\n',
]

const FRAMING_FIELDS = [
  'Transfer-Encoding: chunked\r\n',
  'transfer-encoding: chunked\r\n',
  'Transfer-Encoding: identity\r\n',
  'Transfer-Encoding:\r\n',
  'Content-Length: 0\r\n',
  'Content-Length: 5\r\n',
  'Content-Length: 010\r\n',
  'Content_Length: 3\r\n',
  'Connection: close\r\n',
  'Connection: content-length, transfer-encoding\r\n',
  'Expect: 100-continue\r\n',
  'Trailer: X-T\r\n',
  'Host: evil.test\r\n',
  'X: \r\n y\r\n',
]

const FRAMING_NAMES = [
  'Content-Length',
  'Content-Length ',
  ' Content-Length',
  'Content_Length',
  'Transfer-Encoding',
  'Transfer-Encoding\t',
  'Transfer_Encoding',
  'X',
]
const CODINGS = [
  'chunked',
  'CHUNKED',
  'xchunked',
  'chunked, identity',
  ',chunked',
  '"chunked"',
  'chunked;q=1',
  '\x0bchunked',
  'chunked\xa0',
  '',
]
const LENGTHS = ['0', '1', '5', '05', '+5', '-5', '0x5', '5, 5', '5 ', '5\x0b', '5;', '1e1', '18446744073709551621', '']
/** What a size line of a chunk may be replaced by; `$` is the size that it has. */
const SIZES = [
  '$',
  '0$',
  '0x$',
  '+$',
  '-$',
  ' $',
  '$ ',
  '$\t',
  '$;',
  '$;a',
  '$;a="',
  '00000000000000000$',
  '1000000000000000$',
  '10000000$',
  '',
]
const LINE_ENDS = ['\n', '\r', '\n\r', '\r\r\n', '\r\n ', '\r\n\t', '\r\n\r\n', '\0\r\n', '']

/** What else attacks are made of: line ends, white space, chunk syntax, control characters. */
const TOKENS = [
  ...FRAMING_FIELDS,
  ...LINE_ENDS,
  ' ',
  '\t',
  ':',
  ' :',
  ';',
  ',',
  '"',
  '\0',
  '\x0b',
  '\x7f',
  '\x85',
  '\xff',
  '0',
  '0\r\n',
  '0\r\n\r\n',
  '1\r\nx\r\n',
  '0;x=y\r\n\r\n',
  '+',
  '_',
  ' HTTP/1.1',
  'HTTP/1.0',
  'HTTP/0.9',
  'GET /injected HTTP/1.1\r\n',
]

interface Body {
  readonly fields: string
  readonly bytes: string
}

const data: fc.Arbitrary<string> = fc.constantFrom(
  '',
  'x',
  'hello',
  '0\r\n\r\n',
  '\r\n',
  'GET /inner HTTP/1.1\r\nHost: a\r\n\r\n',
  'x'.repeat(300),
)

const chunked: fc.Arbitrary<Body> = fc
  .record({
    parts: fc.array(data, { maxLength: 3 }),
    extension: fc.constantFrom('', ';a', ';a=b', ';a="b c"'),
    trailers: fc.constantFrom('', 'X-T: 1\r\n'),
  })
  .map(({ parts, extension, trailers }) => ({
    fields: 'Transfer-Encoding: chunked\r\n',
    bytes: [
      ...parts.filter((part) => part !== '').map((part) => `${part.length.toString(16)}${extension}\r\n${part}\r\n`),
      `0${extension}\r\n${trailers}\r\n`,
    ].join(''),
  }))

const body: fc.Arbitrary<Body> = fc.oneof(
  fc.constant({ fields: '', bytes: '' }),
  data.map((bytes) => ({ fields: `Content-Length: ${bytes.length}\r\n`, bytes })),
  chunked,
)

function request({ target, host }: Spelling): fc.Arbitrary<string> {
  return fc
    .record({
      method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'),
      path: fc.constantFrom('/', '/a', '/a/b?c=d', '/%7ea?'),
      fields: fc.subarray(FIELDS),
      version: fc.constantFrom('1.1', '1.1', '1.1', '1.0'),
      body,
      bodyFirst: fc.boolean(),
    })
    .map(({ method, path, fields, version, body: { fields: framing, bytes }, bodyFirst }) => {
      // HTTP/1.0 has no chunks, and keeps its connection only when asked to.
      const old = version === '1.0' && !framing.startsWith('Transfer')
      const kept = old ? 'Connection: keep-alive\r\n' : ''
      const lines = bodyFirst ? [framing, ...fields] : [...fields, framing]
      const head = `${method} ${target(path)} HTTP/${old ? '1.0' : '1.1'}\r\n${host}${kept}${lines.join('')}\r\n`
      return head + bytes
    })
}

type Mutation = (text: string) => string

/** A place in a text, as a part of its length. */
const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const at = (text: string, part: number): number => Math.floor(part * (text.length + 1))

const insertion: fc.Arbitrary<Mutation> = fc.tuple(place, fc.constantFrom(...TOKENS)).map(
  ([part, token]) =>
    (text) =>
      text.slice(0, at(text, part)) + token + text.slice(at(text, part)),
)

/** The same at the beginning of a line, where fields and sizes stand. */
const lineInsertion: fc.Arbitrary<Mutation> = fc
  .tuple(place, fc.constantFrom(...TOKENS))
  .map(([part, token]) => (text) => {
    const lines = text.split('\r\n')
    lines.splice(at(text, part) % lines.length, 1, `${token}${lines[at(text, part) % lines.length] ?? ''}`)
    return lines.join('\r\n')
  })

const flip: fc.Arbitrary<Mutation> = fc.tuple(place, fc.integer({ min: 0, max: 7 })).map(([part, bit]) => (text) => {
  const index = Math.floor(part * text.length)
  const flipped = String.fromCharCode(text.charCodeAt(index) ^ (1 << bit))
  return text.slice(0, index) + flipped + text.slice(index + 1)
})

const removal: fc.Arbitrary<Mutation> = fc.tuple(place, fc.integer({ min: 1, max: 12 })).map(
  ([part, length]) =>
    (text) =>
      text.slice(0, at(text, part)) + text.slice(at(text, part) + length),
)

const duplication: fc.Arbitrary<Mutation> = fc.tuple(place, fc.integer({ min: 1, max: 60 })).map(
  ([part, length]) =>
    (text) =>
      text.slice(0, at(text, part) + length) + text.slice(at(text, part)),
)

const lineDuplication: fc.Arbitrary<Mutation> = fc.tuple(place, place).map(([from, to]) => (text) => {
  const lines = text.split('\r\n')
  lines.splice(Math.floor(to * lines.length), 0, lines[Math.floor(from * lines.length)] ?? '')
  return lines.join('\r\n')
})

const otherCase: fc.Arbitrary<Mutation> = fc
  .tuple(place, fc.integer({ min: 1, max: 20 }))
  .map(([part, length]) => (text) => {
    const from = at(text, part)
    const swapped = text
      .slice(from, from + length)
      .replace(/[A-Za-z]/g, (letter) => String.fromCharCode(letter.charCodeAt(0) ^ 0x20))
    return text.slice(0, from) + swapped + text.slice(from + length)
  })

/** Another of what `pattern` (global) finds, the one at that place: what is written for it is given what was found. */
function rewriting(
  pattern: RegExp,
  spellings: readonly string[],
  write: (found: string, spelling: string) => string,
): fc.Arbitrary<Mutation> {
  return fc.tuple(place, fc.constantFrom(...spellings)).map(([part, spelling]) => (text) => {
    const found = [...text.matchAll(pattern)]
    const match = found[Math.floor(part * found.length)]
    if (match === undefined) return text
    return text.slice(0, match.index) + write(match[0], spelling) + text.slice(match.index + match[0].length)
  })
}

const fieldInsertion = rewriting(/(?<=\r\n)[A-Za-z-]+:/g, FRAMING_FIELDS, (found, field) => field + found)
const otherName = rewriting(/Content-Length|Transfer-Encoding/g, FRAMING_NAMES, (_found, name) => name)
const otherCoding = rewriting(/(?<=Transfer-Encoding: )chunked/g, CODINGS, (_found, coding) => coding)
const otherLength = rewriting(/(?<=Content-Length: )\d+/g, LENGTHS, (_found, length) => length)
const otherSize = rewriting(/(?<=\r\n)[0-9a-f]+(?=[;\r])/g, SIZES, (found, size) => size.replace('$', found))
const otherLineEnd = rewriting(/\r\n/g, LINE_ENDS, (_found, end) => end)

const mutation = fc.oneof(
  insertion,
  lineInsertion,
  flip,
  removal,
  duplication,
  lineDuplication,
  otherCase,
  fieldInsertion,
  fieldInsertion,
  otherName,
  otherCoding,
  otherLength,
  otherSize,
  otherLineEnd,
)

export function mutatedRequests(spelling: Spelling): fc.Arbitrary<Mutated> {
  return fc
    .record({
      requests: fc.array(request(spelling), { minLength: 1, maxLength: 3 }),
      mutations: fc.array(mutation, { maxLength: 3 }),
      cuts: fc.array(place, { maxLength: 5 }),
    })
    .map(({ requests, mutations, cuts }) => {
      const text = mutations.reduce((mutated, mutate) => mutate(mutated), requests.join(''))
      return {
        text,
        intact: mutations.length === 0,
        cuts: cuts.map((part) => Math.floor(part * text.length)).sort((a, b) => a - b),
      }
    })
}
