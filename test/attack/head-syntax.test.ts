// Heads that lenient readers repair, each in its own way: none is repaired here, and the first wrong byte ends the connection.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ambiguous,
  called,
  forwarded,
  refused,
  follow,
  noRequest,
  type Refusal,
  type SmugglingBed,
  type Spelling,
  startSmugglingBed,
  WAYS,
} from './support/smuggling.ts'

/** The field lines of a POST, Host left out. */
const FIELDS: readonly [name: string, fields: string, refusal: Refusal][] = [
  ['[B10] a folded value', 'X: a\r\n b\r\n', noRequest('OBS_FOLD')],
  ['[B10] a value folded with a tab', 'X: a\r\n\tb\r\n', noRequest('OBS_FOLD')],
  ['[B10] a folded coding', 'Transfer-Encoding:\r\n chunked\r\n', noRequest('OBS_FOLD')],
  ['[B10] a fold that hides a coding', 'X: a\r\n Transfer-Encoding: chunked\r\n', noRequest('OBS_FOLD')],
  ['[B11] a name in two lines', 'Transfer-\r\nEncoding: chunked\r\n', noRequest('BAD_NAME')],
  ['[B12] a bare CR before a coding', 'X: a\rTransfer-Encoding: chunked\r\n', noRequest('BARE_CR')],
  ['[B12] a bare CR and a space', 'X: a\r Transfer-Encoding: chunked\r\n', noRequest('BARE_CR')],
  ['[B12] a bare CR at the end of a value', 'X: a\r\r\n', noRequest('BARE_CR')],
  ['[B12] a bare CR in a name', 'X\rY: a\r\n', noRequest('BAD_NAME')],
  ['[B12] a bare CR for a line', '\rX: a\r\n', noRequest('BARE_CR')],
  ['[B13] a bare LF behind a value', 'X: a\nTransfer-Encoding: chunked\r\n', noRequest('BARE_LF')],
  ['[B13] a bare LF for the empty line', 'X: a\r\n\nGET /smuggled HTTP/1.1\r\n', noRequest('BARE_LF')],
  ['[B13] LF CR', 'X: a\n\rY: b\r\n', noRequest('BARE_LF')],
  ['[B13] a bare LF in a name', 'Te\nst: x\r\n', noRequest('BARE_LF')],
  ['[B14] NUL in a value', 'X: a\0b\r\n', noRequest('BAD_VALUE')],
  ['[B14] NUL in a name', 'X\0: a\r\n', noRequest('BAD_NAME')],
  ['[B14] NUL for a line', '\0\r\n', noRequest('BAD_NAME')],
  ['[B16] no name', ': ignored\r\n', noRequest('BAD_NAME')],
  ['[B16] a colon alone', ':\r\n', noRequest('BAD_NAME')],
  ['[B16] a name alone', 'X\r\n', noRequest('BAD_NAME')],
  ['[B16] no colon', 'Content-Length 10\r\n', noRequest('SPACE_BEFORE_COLON')],
  ['[B16] an equals sign for the colon', 'Content-Length=10\r\n', noRequest('BAD_NAME')],
  ['[B16] a space in a name', 'X Y: a\r\n', noRequest('SPACE_BEFORE_COLON')],
  ...[
    '(',
    ')',
    '<',
    '>',
    '@',
    ',',
    ';',
    '\\',
    '"',
    '/',
    '[',
    ']',
    '?',
    '=',
    '{',
    '}',
    '\x7f',
    '\x01',
    '\x1b',
    '\x80',
    '\xe9',
    '\xff',
  ].map((odd): [string, string, Refusal] => [
    `[B42] ${JSON.stringify(odd)} in a name`,
    `X${odd}Y: a\r\n`,
    noRequest('BAD_NAME'),
  ]),
  ...['\x01', '\x08', '\x0b', '\x0c', '\x1b', '\x7f'].map((odd): [string, string, Refusal] => [
    `[B42] ${JSON.stringify(odd)} in a value`,
    `X: a${odd}[2J\r\n`,
    noRequest('BAD_VALUE'),
  ]),
]

const VERSIONS = [
  '0.9',
  '1.2',
  '1.9',
  '2.0',
  '3.0',
  '5.6',
  '4294967295.255',
  '1.10',
  '01.1',
  '1.01',
  '1',
  '1.',
  '1,1',
  '+1.1',
  '1.1.1',
  '1.x',
  '',
]

/** Everything from the first byte on. */
const LINES: readonly [name: string, bytes: (spelling: Spelling) => string, refusal: Refusal][] = [
  [
    '[B09] an indented first field',
    ({ target, host }) => `GET ${target('/')} HTTP/1.1\r\n ${host}\r\n`,
    noRequest('OBS_FOLD'),
  ],
  [
    '[B09] an indented coding first',
    ({ target, host }) => `POST ${target('/')} HTTP/1.1\r\n Transfer-Encoding: chunked\r\n${host}\r\n`,
    noRequest('OBS_FOLD'),
  ],
  [
    '[B09] a coding behind a tab first',
    ({ target, host }) => `POST ${target('/')} HTTP/1.1\r\n\tTransfer-Encoding: chunked\r\n${host}\r\n`,
    noRequest('OBS_FOLD'),
  ],
  [
    '[B13] bare LFs everywhere',
    ({ target, host }) => `GET ${target('/')} HTTP/1.1\n${host.trim()}\n\n`,
    noRequest('BARE_LF'),
  ],
  [
    '[B13] a bare LF behind the request line',
    ({ target, host }) => `GET ${target('/')} HTTP/1.1\n${host}\r\n`,
    noRequest('BARE_LF'),
  ],
  ['[B13] a bare LF first', ({ target, host }) => `\nGET ${target('/')} HTTP/1.1\r\n${host}\r\n`, noRequest('BARE_LF')],
  [
    '[B13] a bare CR behind the request line',
    ({ target, host }) => `GET ${target('/')} HTTP/1.1\r${host}\r\n`,
    noRequest('BAD_VERSION'),
  ],
  ['[B31] HTTP/0.9', ({ target }) => `GET ${target('/')}\r\n\r\n`, noRequest('HTTP_09')],
  ['[B31] HTTP/0.9 with a space', ({ target }) => `GET ${target('/')} \r\n\r\n`, noRequest('BAD_VERSION')],
  ...VERSIONS.map((version): [string, (spelling: Spelling) => string, Refusal] => [
    `[B31] HTTP/${version}`,
    ({ target, host }) => `GET ${target('/')} HTTP/${version}\r\n${host}\r\n`,
    noRequest('BAD_VERSION'),
  ]),
  ...['http/1.1', 'HTTPS/1.1', 'HTTP 1.1', 'HTTP/1.1 ', ' HTTP/1.1', 'HTTP/1.1 HTTP/1.1', 'ICY/1.1'].map(
    (version): [string, (spelling: Spelling) => string, Refusal] => [
      `[B31] the version ${JSON.stringify(version)}`,
      ({ target, host }) => `GET ${target('/')} ${version}\r\n${host}\r\n`,
      noRequest('BAD_VERSION'),
    ],
  ),
  [
    '[B33] a method that is no token',
    ({ target, host }) => `G=":<> ${target('/')} HTTP/1.1\r\n${host}\r\n`,
    noRequest('BAD_METHOD'),
  ],
  [
    '[B33] a method of 300 bytes',
    ({ target, host }) => `${'M'.repeat(300)} ${target('/')} HTTP/1.1\r\n${host}\r\n`,
    noRequest('BAD_METHOD'),
  ],
  ['[B33] no method', ({ target, host }) => ` ${target('/')} HTTP/1.1\r\n${host}\r\n`, noRequest('BAD_METHOD')],
  [
    '[B33] a method behind NUL',
    ({ target, host }) => `\0GET ${target('/')} HTTP/1.1\r\n${host}\r\n`,
    noRequest('BAD_METHOD'),
  ],
  [
    '[B33] a byte order mark first',
    ({ target, host }) => `\xef\xbb\xbfGET ${target('/')} HTTP/1.1\r\n${host}\r\n`,
    noRequest('BAD_METHOD'),
  ],
  [
    '[B33] a tab behind the method',
    ({ target, host }) => `GET\t${target('/')} HTTP/1.1\r\n${host}\r\n`,
    noRequest('BAD_METHOD'),
  ],
  [
    '[B33] two spaces behind the method',
    ({ target, host }) => `GET  ${target('/')} HTTP/1.1\r\n${host}\r\n`,
    noRequest('BAD_TARGET'),
  ],
  [
    '[B33] a tab before the version',
    ({ target, host }) => `GET ${target('/')}\tHTTP/1.1\r\n${host}\r\n`,
    noRequest('BAD_TARGET'),
  ],
  [
    '[B33] a space in the target',
    ({ target, host }) => `GET ${target('/a b')} HTTP/1.1\r\n${host}\r\n`,
    noRequest('BAD_VERSION'),
  ],
  [
    '[B33] NUL in the target',
    ({ target, host }) => `GET ${target('/a\0b')} HTTP/1.1\r\n${host}\r\n`,
    noRequest('BAD_TARGET'),
  ],
  [
    '[B33] two empty lines first',
    ({ target, host }) => `\r\n\r\nGET ${target('/')} HTTP/1.1\r\n${host}\r\n`,
    noRequest('BAD_METHOD'),
  ],
  ['[B33] an answer', () => 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', noRequest('BAD_METHOD')],
]

/** How they are answered is told elsewhere: each in the manner of its protocol. */
const FOREIGN: readonly [name: string, bytes: string][] = [
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0'],
  ['a greeting of SOCKS 5', '\x05\x01\0'],
  ['a greeting of SSH', 'SSH-2.0-OpenSSH_9.6\r\n'],
]
const CLIENT_HELLO: [name: string, bytes: string] = ['a ClientHello', '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03']

describe.each(WAYS.map((way) => [called(way), way] as const))('%s', (_called, way) => {
  let bed: SmugglingBed
  beforeAll(async () => {
    bed = await startSmugglingBed(way)
  })
  afterAll(() => bed.close())

  it.each(FIELDS)('%s', async (_name, fields, refusal) => {
    const { target, host, smuggled } = bed.spelling
    const bytes = `POST ${target('/')} HTTP/1.1\r\n${host}${fields}Content-Length: 0\r\n\r\n${smuggled}`
    expect(await refused(bed, bytes)).toEqual(refusal)
  })

  it.each(LINES)('%s', async (_name, bytes, refusal) => {
    expect(await refused(bed, bytes(bed.spelling) + bed.spelling.smuggled)).toEqual(refusal)
  })

  it.each(['get', 'Get', 'FOO', 'GETT', 'GE', 'PROPFIND', '!#$%'])(
    '[B33] %s is a method of its own, which the rule for GET does not name',
    async (method) => {
      const { canary, lab, open, spelling } = bed
      canary.take()
      const left = await follow(lab)
      const wire = await open()
      wire.write(`${method} ${spelling.target('/')} HTTP/1.1\r\n${spelling.host}\r\n`)
      expect((await wire.message()).status).toBe(403)
      wire.socket.destroy()
      expect((await left(1))[0]).toMatchObject({ decision: 'deny', reason: 'no_matching_rule', method })
      expect(canary.take()).toEqual([])
    },
  )

  // Where the first byte of a connection tells TLS from HTTP, a ClientHello is what it should be.
  it.each(way.door === 'absolute' || way.tls ? [...FOREIGN, CLIENT_HELLO] : FOREIGN)(
    '[B45] %s: nothing of it leaves, its connection ends, and it is one attempt',
    async (_name, bytes) => {
      const { canary, lab, open, spelling } = bed
      canary.take()
      const left = await follow(lab)
      const wire = await open()
      wire.write(bytes + spelling.smuggled)
      await wire.closed()
      const [decided, malformed, completed] = await left(1)
      const { request_id } = decided ?? {}
      expect(decided).toMatchObject({ decision: 'deny', enforced: true, reason: 'malformed' })
      expect(malformed).toMatchObject({ event: 'request.malformed', request_id })
      expect(completed).toMatchObject({ event: 'request.completed', request_id, outcome: 'refused' })
      expect(canary.take()).toEqual([])
    },
  )

  it('[B09] but one empty line before a request is none of its bytes (RFC 9112 §2.2)', async () => {
    const { target, host } = bed.spelling
    const { sent } = await forwarded(bed, `\r\nGET ${target('/')} HTTP/1.1\r\n${host}\r\n`, ['GET'])
    expect(sent).toEqual([{ method: 'GET', target: '/', body: '' }])
  })

  it('[B42] and values of 8 bits and marks that names may have pass as they are', async () => {
    const { target, host } = bed.spelling
    const fields = 'X-!#$%&\'*+-.^_`|~9: caf\xe9 \x80\xff\r\nX_Y: ()<>@,;\\"/[]?={}\t.\r\n'
    const { bytes } = await forwarded(bed, `GET ${target('/odd')} HTTP/1.1\r\n${host}${fields}\r\n`, ['GET'])
    expect(bytes).toContain(`GET /odd HTTP/1.1\r\n${host}${fields}\r\n`)
  })
})

describe('the head of a CONNECT', () => {
  let bed: SmugglingBed
  beforeAll(async () => {
    bed = await startSmugglingBed({ door: 'absolute', tls: false })
  })
  afterAll(() => bed.close())

  it.each<[name: string, fields: string, refusal: Refusal]>([
    [
      '[B01] a length and a coding',
      'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n',
      ambiguous('a CONNECT has no body'),
    ],
    ['[B01] a coding', 'Transfer-Encoding: chunked\r\n', ambiguous('a CONNECT has no body')],
    ['[B06] an empty coding', 'Transfer-Encoding:\r\n', ambiguous('a CONNECT has no body')],
    ['[B18] a length', 'Content-Length: 4\r\n', ambiguous('a CONNECT has no body')],
    ['[B18] a length of nothing', 'Content-Length: 0\r\n', ambiguous('a CONNECT has no body')],
    ['[A11] a second Host', 'Host: evil.test:443\r\n', ambiguous('two Host headers')],
    ['[B08] a space before the colon', 'Transfer-Encoding : chunked\r\n', noRequest('SPACE_BEFORE_COLON')],
    ['[B10] a folded value', 'X: a\r\n b\r\n', noRequest('OBS_FOLD')],
    ['[B12] a bare CR', 'X: a\rY: b\r\n', noRequest('BARE_CR')],
    ['[B13] a bare LF', 'X: a\nY: b\r\n', noRequest('BARE_LF')],
    ['[B14] NUL', 'X: a\0\r\n', noRequest('BAD_VALUE')],
  ])('%s', async (_name, fields, refusal) => {
    const { authority, host, smuggled } = bed.spelling
    expect(await refused(bed, `CONNECT ${authority} HTTP/1.1\r\n${host}${fields}\r\n${smuggled}`)).toEqual(refusal)
  })
})
