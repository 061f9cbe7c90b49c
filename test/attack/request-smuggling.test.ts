// Two readings of where a request ends (RFC 9112 §11.2): bytes that a second reader would take for another request never leave.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ambiguous,
  called,
  forwarded,
  refused,
  noRequest,
  type Refusal,
  type SmugglingBed,
  startSmugglingBed,
  WAYS,
} from './support/smuggling.ts'

const CHUNKED = 'Transfer-Encoding: chunked\r\n'
const BOTH = ambiguous('LENGTH_WITH_TRANSFER_ENCODING')
const CODING = ambiguous('BAD_TRANSFER_ENCODING')
const TWO_CODINGS = ambiguous('DUPLICATE_TRANSFER_ENCODING')

/** Fields of a POST whose body is an empty chunked one, or four bytes, with the smuggled request behind it. */
const FRAMINGS: readonly [name: string, fields: string, refusal: Refusal][] = [
  ['[B01] a length, then chunked', `Content-Length: 6\r\n${CHUNKED}`, BOTH],
  ['[B01] a length of nothing, then chunked', `Content-Length: 0\r\n${CHUNKED}`, BOTH],
  ['[B02] chunked, then a length', `${CHUNKED}Content-Length: 6\r\n`, BOTH],
  ['[B02] chunked, then a length that is no number', `${CHUNKED}Content-Length: x\r\n`, BOTH],
  ['[B02] chunked and a length with fields between them', `${CHUNKED}X-A: 1\r\nContent-Length: 4\r\n`, BOTH],
  ['[B03] chunked twice', CHUNKED + CHUNKED, TWO_CODINGS],
  ['[B03] chunked, then identity', `${CHUNKED}Transfer-Encoding: identity\r\n`, TWO_CODINGS],
  ['[B03] identity, then chunked', `Transfer-Encoding: identity\r\n${CHUNKED}`, TWO_CODINGS],
  ['[B03] an empty coding, then chunked', `Transfer-Encoding:\r\n${CHUNKED}`, TWO_CODINGS],
  ['[B03] two fields that differ in case', `${CHUNKED}tRANSFER-eNCODING: chunked\r\n`, TWO_CODINGS],
  ...[
    'xchunked',
    'chunkedx',
    'chunked, cow',
    'chunked;q=1',
    'chunked ;q=1',
    '"chunked"',
    "'chunked'",
    'chunked,',
    ',chunked',
    ', chunked',
    'cow, chunked',
    'identity, chunked',
    'identity',
    'gzip, chunked',
    'gzip',
    'chunked, chunked',
    'chunked chunked',
    'chunke',
    'chunk',
    '[chunked]',
    '(chunked)',
    'chunked#',
    'chunked\\',
    '*',
  ].map((value): [string, string, Refusal] => [`[B04] the coding ${value}`, `Transfer-Encoding: ${value}\r\n`, CODING]),
  ['[B06] an empty coding beside a length', 'Content-Length: 11\r\nTransfer-Encoding:\r\n', BOTH],
  ['[B06] an empty coding before a length', 'Transfer-Encoding: \r\nContent-Length: 11\r\n', BOTH],
  ['[B06] an empty coding alone', 'Transfer-Encoding:\r\n', CODING],
  ['[B06] a coding of white space', 'Transfer-Encoding: \t \r\n', CODING],
  ...['\x85', '\xa0', '\xff', '\xad', '\xc2\xa0', '\xe2\x80\x8b'].flatMap((odd): [string, string, Refusal][] => [
    [`[B07] ${hex(odd)} before chunked`, `Transfer-Encoding: ${odd}chunked\r\n`, CODING],
    [`[B07] ${hex(odd)} behind chunked`, `Transfer-Encoding: chunked${odd}\r\n`, CODING],
  ]),
  ...Array.from({ length: 0x20 }, (_, code) => String.fromCharCode(code))
    .concat('\x7f')
    .filter((odd) => odd !== '\t' && odd !== '\n' && odd !== '\r')
    .flatMap((odd): [string, string, Refusal][] => [
      [`[B07] ${hex(odd)} before chunked`, `Transfer-Encoding:${odd}chunked\r\n`, noRequest('BAD_VALUE')],
      [`[B07] ${hex(odd)} behind chunked`, `Transfer-Encoding: chunked${odd}\r\n`, noRequest('BAD_VALUE')],
    ]),
  ['[B08] a space before the colon', 'Transfer-Encoding : chunked\r\n', noRequest('SPACE_BEFORE_COLON')],
  ['[B08] a tab before the colon', 'Transfer-Encoding\t: chunked\r\n', noRequest('SPACE_BEFORE_COLON')],
  ['[B08] a space before the colon of a length', 'Content-Length : 34\r\n', noRequest('SPACE_BEFORE_COLON')],
  ['[B08] a vertical tab before the colon', 'Transfer-Encoding\x0b: chunked\r\n', noRequest('BAD_NAME')],
  ['[B08] NUL before the colon', 'Transfer-Encoding\0: chunked\r\n', noRequest('BAD_NAME')],
  ['[B41] Transfer_Encoding', 'Transfer_Encoding: chunked\r\n', noRequest('UNDERSCORE_FRAMING')],
  [
    '[B41] transfer_encoding beside a length',
    `Content-Length: 4\r\ntransfer_encoding: chunked\r\n`,
    noRequest('UNDERSCORE_FRAMING'),
  ],
  ['[B41] Content_Length', 'Content_Length: 5\r\n', noRequest('UNDERSCORE_FRAMING')],
  ['[B41] CONTENT_LENGTH beside chunked', `${CHUNKED}CONTENT_LENGTH: 5\r\n`, noRequest('UNDERSCORE_FRAMING')],
]

describe.each(WAYS.map((way) => [called(way), way] as const))('%s', (_called, way) => {
  let bed: SmugglingBed
  beforeAll(async () => {
    bed = await startSmugglingBed(way)
  })
  afterAll(() => bed.close())

  it.each(FRAMINGS)('%s', async (_name, fields, refusal) => {
    const { target, host, smuggled } = bed.spelling
    expect(await refused(bed, `POST ${target('/')} HTTP/1.1\r\n${host}${fields}\r\n0\r\n\r\n${smuggled}`)).toEqual(
      refusal,
    )
  })

  it.each(['GET', 'POST'])('[B32] chunked on HTTP/1.0, with %s', async (method) => {
    const { target, host, smuggled } = bed.spelling
    const head = `${method} ${target('/')} HTTP/1.0\r\n${host}Connection: keep-alive\r\n${CHUNKED}\r\n`
    expect(await refused(bed, `${head}0\r\n\r\n${smuggled}`)).toEqual(ambiguous('TRANSFER_ENCODING_ON_HTTP_10'))
  })

  it.each(['chunked', 'Chunked', 'CHUNKED', '\tchunked', 'chunked \t', ' chunked '])(
    'but %j is the one coding there is, and its body ends where it says',
    async (value) => {
      const { target, host } = bed.spelling
      const head = `POST ${target('/coded')} HTTP/1.1\r\n${host}Transfer-Encoding:${value}\r\n\r\n`
      const { sent } = await forwarded(bed, `${head}2\r\nhi\r\n0\r\n\r\n`, ['POST'])
      expect(sent).toEqual([{ method: 'POST', target: '/coded', body: 'hi' }])
    },
  )
})

function hex(text: string): string {
  return `0x${Buffer.from(text, 'latin1').toString('hex')}`
}
