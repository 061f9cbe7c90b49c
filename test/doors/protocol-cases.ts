// What must come out the same in either version of HTTP: whole messages, each with what client, trail and origin have to say of it.

import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { expect } from 'vitest'
import { refusalCases } from './protocol-refusal-cases.ts'
import { streamCases } from './protocol-stream-cases.ts'
import { asks, OK, PASSED, type ProtocolCase } from './support/protocol-case.ts'
import type { Fields } from './support/protocol-body.ts'

const LARGE_BYTES = 8 * 1_024 * 1_024
const PARALLEL = 200

/** No two parts of it are alike: what is lost or comes twice changes the hash. */
const large = Buffer.alloc(LARGE_BYTES)
for (let at = 0; at < LARGE_BYTES; at += 4) large.writeUInt32LE((at * 40_503) % 2 ** 32, at)
const half = large.subarray(LARGE_BYTES / 2)
const hashed = (bytes: Buffer): string =>
  `${bytes.length} bytes of SHA-256 ${createHash('sha256').update(bytes).digest('hex')}`
const [LARGE, HALF] = [hashed(large), hashed(half)]
/** Cut off: whoever unpacks it on the way fails. */
const zipped = gzipSync('hello '.repeat(200)).subarray(0, -4)

const messageCases: readonly ProtocolCase[] = [
  {
    does: 'fields arrive both ways, in order and number',
    play: (bed, path) =>
      bed.ask({
        path: `${path}?q=%7e&r`,
        fields: [
          ['X-First', '1'],
          ['Accept', '*/*'],
          ['X-Dup', 'b'],
          ['X-Dup', 'a'],
          ['X-Empty', ''],
          ['Authorization', 'Bearer abc'],
        ],
      }),
    script: (turn) =>
      turn.answer(
        203,
        [
          ['Server', 'x'],
          ['Set-Cookie', 'a=1; Path=/'],
          ['Set-Cookie', 'b=2'],
          ['X-Request-ID', 'theirs'],
          ['Alt-Svc', 'h3=":443"'],
        ],
        'hi',
      ),
    client: {
      status: 203,
      body: 'hi',
      fields: [
        ['server', 'x'],
        ['set-cookie', 'a=1; Path=/'],
        ['set-cookie', 'b=2'],
        ['x-request-id', 'theirs'],
        ['content-length', '2'],
      ],
    },
    trail: ['allow completed 203'],
    origin: [
      {
        method: 'GET',
        fields: [
          ['x-first', '1'],
          ['accept', '*/*'],
          ['x-dup', 'b'],
          ['x-dup', 'a'],
          ['x-empty', ''],
          ['authorization', 'Bearer abc'],
        ],
      },
    ],
  },
  {
    does: 'cookies are one field for the origin, however the client wrote them',
    play: async (bed, path) => {
      const crumbs = ['a=1', 'b=2', 'c="3"']
      const fields: Fields =
        bed.cell.client === 'h2' ? crumbs.map((crumb) => ['cookie', crumb]) : [['Cookie', crumbs.join('; ')]]
      return bed.ask({ path, fields })
    },
    client: OK,
    trail: PASSED,
    origin: [{ fields: [['cookie', 'a=1; b=2; c="3"']] }],
  },
  {
    does: '40 KiB of fields pass both ways',
    play: asks({ fields: [['X-Large', 'a'.repeat(40 * 1_024)]] }),
    script: (turn) => turn.answer(200, [['X-Large', 'b'.repeat(40 * 1_024)]]),
    client: {
      fields: [
        ['x-large', 'b'.repeat(40 * 1_024)],
        ['content-length', '0'],
      ],
    },
    trail: PASSED,
    origin: [{ fields: [['x-large', 'a'.repeat(40 * 1_024)]] }],
  },
  {
    does: 'a body of known length arrives with its length',
    play: asks({ method: 'POST', body: 'hello' }),
    client: OK,
    trail: PASSED,
    origin: [{ method: 'POST', body: 'hello', ending: 'whole', fields: [['content-length', '5']] }],
  },
  {
    does: 'a body without a length arrives without one',
    play: async (bed, path) => {
      const exchange = (await bed.client()).begin({ method: 'PUT', path, streamed: true })
      await exchange.write('hel')
      await exchange.write('lo')
      exchange.end()
      return exchange.answer()
    },
    client: OK,
    trail: PASSED,
    origin: [{ method: 'PUT', body: 'hello', ending: 'whole', fields: [] }],
  },
  {
    does: 'an empty body arrives as an empty body',
    play: asks({ method: 'POST', body: '' }),
    client: OK,
    trail: PASSED,
    origin: [{ body: '', ending: 'whole', fields: [['content-length', '0']] }],
  },
  {
    does: 'a body without a length that turns out empty is one',
    play: async (bed, path) => {
      const exchange = (await bed.client()).begin({ method: 'POST', path, streamed: true })
      exchange.end()
      return exchange.answer()
    },
    client: OK,
    trail: PASSED,
    origin: [{ body: '', ending: 'whole', fields: [] }],
  },
  {
    does: 'a DELETE with a body keeps it',
    play: asks({ method: 'DELETE', body: '{"all":true}' }),
    client: OK,
    trail: PASSED,
    origin: [{ method: 'DELETE', body: '{"all":true}' }],
  },
  {
    does: 'the answer to HEAD has the length of what it does not send',
    play: asks({ method: 'HEAD' }),
    script: (turn) =>
      turn.bodiless(200, [
        ['Content-Length', '5'],
        ['ETag', '"a"'],
      ]),
    client: {
      status: 200,
      body: '',
      ending: 'whole',
      fields: [
        ['content-length', '5'],
        ['etag', '"a"'],
      ],
    },
    trail: PASSED,
    origin: [{ method: 'HEAD' }],
  },
  {
    does: '204 has no body and no length',
    play: asks({ method: 'DELETE' }),
    script: (turn) => turn.bodiless(204, [['X-A', '1']]),
    client: { status: 204, body: '', ending: 'whole', fields: [['x-a', '1']] },
    trail: ['allow completed 204'],
    origin: [{ method: 'DELETE' }],
  },
  {
    does: '304 has no body',
    play: asks({ fields: [['If-None-Match', '"a"']] }),
    script: (turn) => turn.bodiless(304, [['ETag', '"a"']]),
    client: { status: 304, body: '', ending: 'whole', fields: [['etag', '"a"']] },
    trail: ['allow completed 304'],
    origin: [{ fields: [['if-none-match', '"a"']] }],
  },
  {
    does: 'early hints arrive before the answer',
    play: asks({}),
    script: (turn) => {
      turn.hint('</a.css>; rel=preload')
      turn.answer(200, [], 'hinted')
    },
    client: { status: 200, body: 'hinted', interim: [{ status: 103, fields: [['link', '</a.css>; rel=preload']] }] },
    trail: PASSED,
    origin: [{}],
  },
  {
    does: 'trailers of an answer arrive',
    play: asks({}),
    script: (turn) => {
      turn.head(200, [['Content-Type', 'text/plain']])
      void turn.write('hello')
      turn.end({ 'Grpc-Status': '0', 'X-Checksum': 'abc' })
    },
    client: {
      body: 'hello',
      ending: 'whole',
      trailers: [
        ['grpc-status', '0'],
        ['x-checksum', 'abc'],
      ],
    },
    trail: PASSED,
    origin: [{}],
  },
  {
    does: 'trailers of a request are dropped and their names recorded',
    play: async (bed, path) => {
      const trailers = { 'x-checksum': 's3cr3t' }
      const exchange = (await bed.client()).begin({ method: 'PUT', path, streamed: true, trailers })
      await exchange.write('hello')
      exchange.end()
      return exchange.answer()
    },
    client: OK,
    trail: PASSED,
    origin: [{ body: 'hello', trailers: [] }],
  },
  {
    does: 'compressed bytes are not touched, not even broken ones',
    play: asks({ fields: [['Accept-Encoding', 'gzip, br']] }),
    script: (turn) => turn.answer(200, [['Content-Encoding', 'gzip']], zipped),
    client: {
      body: zipped.toString('latin1'),
      fields: expect.arrayContaining([['content-encoding', 'gzip']]) as Fields,
    },
    trail: PASSED,
    origin: [{ fields: [['accept-encoding', 'gzip, br']] }],
  },
  {
    does: 'a large upload arrives unchanged',
    play: asks({ method: 'PUT', body: large }),
    client: OK,
    trail: PASSED,
    origin: [{ body: LARGE, ending: 'whole' }],
  },
  {
    does: 'a large download arrives unchanged',
    play: asks({}),
    script: (turn) => turn.answer(200, [], large),
    client: { body: LARGE, ending: 'whole' },
    trail: PASSED,
    origin: [{}],
  },
  {
    does: 'a large body of unknown length comes back unchanged while it is sent',
    play: async (bed, path) => {
      const exchange = (await bed.client()).begin({ method: 'POST', path, streamed: true })
      const answer = exchange.answer()
      await exchange.write(half)
      exchange.end()
      return answer
    },
    script: (turn) => turn.echo(),
    client: { body: HALF, ending: 'whole' },
    trail: PASSED,
    origin: [{}],
  },
  {
    does: `${PARALLEL} requests at once are all answered and all recorded`,
    play: async (bed, path) => {
      const client = await bed.client()
      const numbers = Array.from({ length: PARALLEL }, (_, number) => String(number))
      const answers = numbers.map((body) => client.begin({ method: 'POST', path, body }).answer())
      return (await Promise.all(answers)).map(({ status, body }) => `${status} ${body}`)
    },
    script: async (turn) => turn.answer(200, [], await turn.body()),
    client: Array.from({ length: PARALLEL }, (_, number) => `200 ${number}`),
    trail: Array.from({ length: PARALLEL }, () => 'allow completed 200'),
    origin: Array.from({ length: PARALLEL }, () => ({ method: 'POST' })),
  },
]

export const protocolCases: readonly ProtocolCase[] = [...messageCases, ...refusalCases, ...streamCases]
