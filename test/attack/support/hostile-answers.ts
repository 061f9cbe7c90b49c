// Answers that no origin should give: those of which nothing may be passed on, those that break, and those that end too soon.

import { ok } from '../../support/scripted-origin.ts'

const KIB = 1_024
const MIB = 1_024 * KIB
export const OK: string = 'HTTP/1.1 200 OK\r\n'
export const CHUNKED: string = `${OK}Transfer-Encoding: chunked\r\n\r\n`
const EMPTY = 'Content-Length: 0\r\n\r\n'

/** Answers of which nothing may be passed on. */
export const NO_ANSWER: readonly [name: string, bytes: string][] = [
  ['[B37] a length and a coding', `${OK}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ['[B37] a coding and a length', `${OK}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`],
  ['[B37] two lengths', `${OK}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`],
  ['[B37] the same length twice', `${OK}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello`],
  ['[B37] a list of lengths', `${OK}Content-Length: 5, 5\r\n\r\nhello`],
  ['[B37] a negative length', `${OK}Content-Length: -1\r\n\r\nhello`],
  ['[B37] a length with a sign', `${OK}Content-Length: +5\r\n\r\nhello`],
  ['[B37] a length in hex', `${OK}Content-Length: 0x5\r\n\r\nhello`],
  ['[B37] an empty length', `${OK}Content-Length:\r\n\r\nhello`],
  ['[B37] a length over 64 bits', `${OK}Content-Length: 18446744073709551621\r\n\r\nhello`],
  ['[B37] two codings', `${OK}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ['[B37] a coding over the chunks', `${OK}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
  ['[B37] a coding that nobody knows', `${OK}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
  ['[B37] an empty coding and a length', `${OK}Transfer-Encoding:\r\nContent-Length: 5\r\n\r\nhello`],
  ['[B37] a coding on HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['[B37] a length with a space before its colon', `${OK}Content-Length : 5\r\n\r\nhello`],
  ['[B37] Content_Length', `${OK}Content_Length: 5\r\n\r\nhello`],
  ['[B37] an unsolicited 101', 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n'],
  ['[B37] a 101 behind an interim answer', 'HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n'],
  ['[B37] an interim answer with a body', `HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello${ok('final')}`],
  ['[B37] a flood of interim answers', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(10_000)],
  [
    '[B37] an interim answer with a length and a coding and no end',
    `HTTP/1.1 102 Processing\r\n${'X: 1\r\n'.repeat(300)}`,
  ],
  ['[I05] one field of 64 KiB', `${OK}X-A: ${'a'.repeat(64 * KIB)}\r\n${EMPTY}`],
  ['[I05] fields of 64 KiB in all', `${OK}${`X-A: ${'a'.repeat(KIB)}\r\n`.repeat(64)}${EMPTY}`],
  ['[I05] 201 fields', `${OK}${'X: 1\r\n'.repeat(200)}${EMPTY}`],
  ['[I05] 100,000 fields', `${OK}${'X: 1\r\n'.repeat(100_000)}${EMPTY}`],
  ['[I05] a reason phrase of 16 MiB', `HTTP/1.1 200 ${'a'.repeat(16 * MIB)}\r\n${EMPTY}`],
  ['[B37] NUL in a value', `${OK}X-A: a\0b\r\n${EMPTY}`],
  ['[B37] NUL in a name', `${OK}X\0A: ab\r\n${EMPTY}`],
  ['[B37] NUL in the reason phrase', `HTTP/1.1 200 O\0K\r\n${EMPTY}`],
  ['[B37] an escape in a value', `${OK}X-A: \x1b[2J\r\n${EMPTY}`],
  ['[B37] a bare CR in a value', `${OK}X-A: a\rSet-Cookie: evil=1\r\n${EMPTY}`],
  ['[B37] a bare CR in the reason phrase', `HTTP/1.1 200 OK\rSet-Cookie: evil=1\r\n${EMPTY}`],
  ['[B37] a bare LF in a value', `${OK}X-A: a\nSet-Cookie: evil=1\r\n${EMPTY}`],
  ['[B37] bare LFs everywhere', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n'],
  ['[B37] a folded value', `${OK}X-A: a\r\n b\r\n${EMPTY}`],
  ['[B37] an indented first field', `${OK} X-A: a\r\n${EMPTY}`],
  ['[B37] a field without a colon', `${OK}nonsense\r\n${EMPTY}`],
  ['[B37] a field without a name', `${OK}: a\r\n${EMPTY}`],
  ...[
    'HTTP/1.1 20 OK',
    'HTTP/1.1 2000 OK',
    'HTTP/1.1 099 OK',
    'HTTP/1.1 600 OK',
    'HTTP/1.1 -200 OK',
    'HTTP/1.1 +200 OK',
    'HTTP/1.1 2e2 OK',
    'HTTP/1.1 0xc8 OK',
    'HTTP/1.1 2OO OK',
    'HTTP/1.1 \xb200 OK',
    'HTTP/1.1  200 OK',
    'HTTP/1.1\t200 OK',
    'HTTP/1.1 200\tOK',
    'HTTP/1.1 OK',
    'HTTP/1.1 ',
    'HTTP/1.1',
    'HTTP/1.2 200 OK',
    'HTTP/0.9 200 OK',
    'HTTP/2.0 200 OK',
    'HTTP/2 200',
    'HTTP/1.10 200 OK',
    'HTTP/11 200 OK',
    'http/1.1 200 OK',
    'ICY 200 OK',
    ' HTTP/1.1 200 OK',
    '200 OK',
    'GET / HTTP/1.1',
    '<html>HTTP/0.9</html>',
    'SSH-2.0-OpenSSH_9.6',
    '220 smtp.test ESMTP',
    '\0\0\x12\x04\0\0\0\0\0',
    '\x15\x03\x03\0\x02\x02\x28',
  ].map((line): [string, string] => [`[B37] the status line ${JSON.stringify(line)}`, `${line}\r\n${EMPTY}`]),
]

/** Bodies that are no end of what was promised; the origin says no more and keeps the connection open. */
export const BROKEN_BODIES: readonly [name: string, bytes: string][] = [
  ['[B37] a size that is no number', `${CHUNKED}4\r\nhalf\r\nzz\r\n`],
  ['[B37] a size that wraps around 64 bits', `${CHUNKED}4\r\nhalf\r\n10000000000000003\r\nabc\r\n0\r\n\r\n`],
  ['[B37] more data than its size', `${CHUNKED}4\r\nhalfway\r\n0\r\n\r\n`],
  ['[B37] data and a bare LF', `${CHUNKED}4\r\nhalf\n0\r\n\r\n`],
  ['[B37] a size and a bare LF', `${CHUNKED}4\r\nhalf\r\n4\nhalf\r\n0\r\n\r\n`],
  ['[B22] a flood of extensions', `${CHUNKED}4\r\nhalf\r\n${`1;${'e'.repeat(KIB)}\r\na\r\n`.repeat(32)}0\r\n\r\n`],
  ['[B22] one extension without an end', `${CHUNKED}4\r\nhalf\r\n1;${'e'.repeat(MIB)}`],
  ['[B34] trailing fields that frame', `${CHUNKED}4\r\nhalf\r\n0\r\nContent-Length: 5\r\n\r\n`],
  ['[B34] trailing fields without an end', `${CHUNKED}4\r\nhalf\r\n0\r\n${'X-A: 1\r\n'.repeat(10_000)}`],
  ['[B34] a folded trailing field', `${CHUNKED}4\r\nhalf\r\n0\r\nX-A: 1\r\n 2\r\n\r\n`],
]

export type End = 'ends' | 'is reset'

/** Partial answers, and how the connection goes. */
export const CUT: readonly [name: string, bytes: string, ends: readonly End[]][] = [
  ['within the body of a known length', `${OK}Content-Length: 9\r\n\r\nhalf`, ['ends', 'is reset']],
  ['within a chunk', `${CHUNKED}9\r\nhalf`, ['ends', 'is reset']],
  ['between two chunks', `${CHUNKED}4\r\nhalf\r\n`, ['ends', 'is reset']],
  ['within the size of a chunk', `${CHUNKED}4\r\nhalf\r\n1`, ['ends', 'is reset']],
  ['behind the size of the last chunk', `${CHUNKED}4\r\nhalf\r\n0\r\n`, ['ends', 'is reset']],
  ['within the trailing fields', `${CHUNKED}4\r\nhalf\r\n0\r\nX-A: 1\r\n`, ['ends', 'is reset']],
  ['within a body that the close would end', `${OK}\r\nhalf`, ['is reset']],
]

export const NO_HEAD: readonly [name: string, bytes: string][] = [
  ['before a byte', ''],
  ['within the status line', 'HTTP/1.1 20'],
  ['within the fields', `${OK}Content-Le`],
  ['before the empty line', `${OK}Content-Length: 0\r\n`],
  ['behind an interim answer', 'HTTP/1.1 103 Early Hints\r\n\r\n'],
]
