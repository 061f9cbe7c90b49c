// Lengths that some read and some read otherwise: refused unless there is one, in digits, and sent on in the one spelling it has.

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

const TWICE = ambiguous('DUPLICATE_CONTENT_LENGTH')
const BAD = ambiguous('BAD_CONTENT_LENGTH')

const LENGTHS: readonly [name: string, fields: string, refusal: Refusal][] = [
  ['[B17] nothing and 31', 'Content-Length: 0\r\nContent-Length: 31\r\n', TWICE],
  ['[B17] 31 and nothing', 'Content-Length: 31\r\nContent-Length: 0\r\n', TWICE],
  ['[B17] the same twice', 'Content-Length: 1\r\nContent-Length: 1\r\n', TWICE],
  ['[B17] the same in another case', 'Content-Length: 1\r\ncontent-length: 1\r\n', TWICE],
  ['[B17] the same far apart', 'Content-Length: 1\r\nX-A: 1\r\nX-B: 2\r\nContent-Length: 1\r\n', TWICE],
  ['[B17] the same with zeros before it', 'Content-Length: 1\r\nContent-Length: 01\r\n', TWICE],
  ['[B19] an empty one and 59', 'Content-Length:\r\nContent-Length: 59\r\n', TWICE],
  ['[B19] 59 and an empty one', 'Content-Length: 59\r\nContent-Length: \r\n', TWICE],
  ...['1, 1', '1,1', '1, 2', '1,', ',1', '1;1', '1 1', '1\t1'].map((value): [string, string, Refusal] => [
    `[B17] the list ${value}`,
    `Content-Length: ${value}\r\n`,
    BAD,
  ]),
  ...[
    '+1_0',
    '1_0',
    '+1',
    '-48',
    '-0',
    '0x10',
    '0o10',
    '0b10',
    '1Z',
    'Z',
    '1e1',
    '1.0',
    '1.',
    '"1"',
    "'1'",
    '(1)',
    '1#',
    '\xb9',
    '1\xa0',
    '\x851',
    'NaN',
    'Infinity',
    'chunked',
    '',
    ' \t ',
    '4294967296000000',
    '9223372036854775808',
    '18446744073709551615',
    '18446744073709551616',
    '18446744073709551620',
    '0000000000000001',
    '9'.repeat(1_000),
  ].map((value): [string, string, Refusal] => [
    `[B18] ${JSON.stringify(value.slice(0, 24))}, ${value.length} characters`,
    `Content-Length: ${value}\r\n`,
    BAD,
  ]),
  ['[B18] NUL behind it', 'Content-Length: 4\0\r\n', noRequest('BAD_VALUE')],
  ['[B18] a vertical tab before it', 'Content-Length:\x0b4\r\n', noRequest('BAD_VALUE')],
  ['[B18] a form feed behind it', 'Content-Length: 4\x0c\r\n', noRequest('BAD_VALUE')],
  ['[B08] a space before the colon', 'Content-Length : 4\r\n', noRequest('SPACE_BEFORE_COLON')],
  ['[B16] a space for the colon', 'Content-Length 4\r\n', noRequest('SPACE_BEFORE_COLON')],
  ['[B10] folded', 'Content-Length:\r\n 4\r\n', noRequest('OBS_FOLD')],
  ['[B10] 4, folded on to 40', 'Content-Length: 4\r\n 0\r\n', noRequest('OBS_FOLD')],
  ['[B41] with an underscore', 'Content_Length: 4\r\n', noRequest('UNDERSCORE_FRAMING')],
  [
    '[B41] with an underscore, beside a real one',
    'Content-Length: 4\r\nCONTENT_LENGTH: 0\r\n',
    noRequest('UNDERSCORE_FRAMING'),
  ],
]

describe.each(WAYS.map((way) => [called(way), way] as const))('%s', (_called, way) => {
  let bed: SmugglingBed
  beforeAll(async () => {
    bed = await startSmugglingBed(way)
  })
  afterAll(() => bed.close())

  describe.each(['POST', 'GET'])('%s', (method) => {
    it.each(LENGTHS)('%s', async (_name, fields, refusal) => {
      const { target, host, smuggled } = bed.spelling
      expect(await refused(bed, `${method} ${target('/')} HTTP/1.1\r\n${host}${fields}\r\n${smuggled}`)).toEqual(
        refusal,
      )
    })
  })

  it.each([
    ['0', '0', ''],
    ['00', '0', ''],
    ['010', '10', '0123456789'],
    ['000000000000002', '2', 'hi'],
    ['09', '9', '123456789'],
    ['\t 2 \t', '2', 'hi'],
  ])('[B18] but %j is %s, to the origin too', async (written, length, body) => {
    const { target, host } = bed.spelling
    const bytes = `POST ${target('/length')} HTTP/1.1\r\n${host}Content-Length:${written}\r\nX-A: 1\r\n\r\n${body}`
    const { sent, requests } = await forwarded(bed, bytes, ['POST'])
    expect(sent).toEqual([{ method: 'POST', target: '/length', body }])
    // Zeros before it are octal for some (strtol with base 0): they would see the end elsewhere.
    const fields = ['Host', bed.spelling.authority, 'Content-Length', length, 'X-A', '1']
    expect(requests[0]?.fields).toEqual(fields)
  })
})
