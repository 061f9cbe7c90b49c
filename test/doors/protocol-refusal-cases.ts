// What a rule, a limit or a name that is another refuses, and what the client reads of it.

import { CAP_BYTES, CAPPED, DENIED, INSPECTED, RATE, RATED } from './support/bed.ts'
import { gate } from './support/gate.ts'
import type { ProtocolBed } from './support/protocol-bed.ts'
import type { Fields } from './support/protocol-body.ts'
import { asks, briefly, OK, PASSED, type ProtocolCase, refusal, unhinted } from './support/protocol-case.ts'
import type { Exchange } from './support/protocol-client.ts'

const EXPECT: Fields = [['Expect', '100-continue']]
const JSON_TYPE: Fields = [['Content-Type', 'application/json']]

/** Asks with a body that it sends only when it is asked for it. */
async function waits(bed: ProtocolBed, path: string, fields: Fields, host?: string): Promise<Exchange> {
  return (await bed.client(host)).begin({ method: 'POST', path, streamed: true, fields: [...EXPECT, ...fields] })
}

export const refusalCases: readonly ProtocolCase[] = [
  {
    does: 'a host that no rule allows is 403, inside',
    play: asks({}, DENIED),
    client: refusal(403, 'no_matching_rule'),
    trail: ['deny refused no_matching_rule 403'],
    origin: [],
  },
  {
    does: 'a path that a rule denies is 403, and the connection serves the next request',
    play: async (bed, path) => [await bed.ask({ path: '/never/this' }), await bed.ask({ path })],
    client: [refusal(403, 'denied_by_rule'), OK],
    trail: ['deny refused denied_by_rule 403', ...PASSED],
    origin: [{}],
  },
  {
    does: 'a path with two readings is 400',
    play: asks({ path: '/a/%2e%2e/b' }),
    client: refusal(400, 'path_not_canonical'),
    trail: ['deny refused path_not_canonical 400'],
    origin: [],
  },
  {
    does: 'an upload that is refused is answered while the client is still sending it',
    play: asks({ method: 'PUT', path: '/never/that', body: 'x'.repeat(1_000_000) }),
    client: refusal(403, 'denied_by_rule'),
    trail: ['deny refused denied_by_rule 403'],
    origin: [],
  },
  {
    does: 'a refused HEAD has no body',
    play: asks({ method: 'HEAD', path: '/never/these' }),
    client: { status: 403, body: '', ending: 'whole' },
    trail: ['deny refused denied_by_rule 403'],
    origin: [],
  },
  {
    does: 'another authority than that of the connection is 421, and the connection serves the next request',
    play: async (bed, path) => [
      unhinted(await bed.ask({ path, authority: `${RATED}:${bed.origin.port}` })),
      await bed.ask({ path }),
    ],
    client: [{ status: 421, reason: 'identity_mismatch', ending: 'whole' }, OK],
    trail: ['deny refused identity_mismatch 421', ...PASSED],
    origin: [{}],
  },
  {
    does: 'a rate that is used up is 429',
    play: async (bed, path) => {
      for (let index = 0; index < RATE; index++) await bed.ask({ path }, RATED)
      const { status, ending, body, fields } = await bed.ask({ path }, RATED)
      // When to come back is a matter of time.
      return { status, ending, body, fields: fields.map(([name]) => name) }
    },
    client: refusal(429, 'rate_limited'),
    trail: [...Array.from({ length: RATE }, () => 'allow completed 200'), 'deny refused rate_limited 429'],
    origin: Array.from({ length: RATE }, () => ({})),
  },
  {
    does: 'a declared length over request_bytes is 413',
    play: asks({ method: 'POST', body: 'x'.repeat(CAP_BYTES + 1) }, CAPPED),
    client: refusal(413, 'request_too_large'),
    trail: ['deny refused request_too_large 413'],
    origin: [],
  },
  {
    does: 'a body at request_bytes passes',
    play: asks({ method: 'POST', body: 'x'.repeat(CAP_BYTES) }, CAPPED),
    client: OK,
    trail: PASSED,
    origin: [{ body: 'x'.repeat(CAP_BYTES) }],
  },
  {
    does: 'a body that grows over request_bytes is 413, and the origin never gets it whole',
    play: async (bed, path) => {
      const [begun, over] = [gate(), gate()]
      bed.origin.on(path, async (turn) => {
        await turn.take(4)
        begun.open()
        await turn.body()
        over.open()
      })
      const exchange = (await bed.client(CAPPED)).begin({ method: 'POST', path, streamed: true })
      await exchange.write('part')
      await begun.opened
      void exchange.write('x'.repeat(CAP_BYTES))
      exchange.end()
      await over.opened
      return exchange.answer()
    },
    client: refusal(413, 'request_too_large'),
    trail: ['allow refused request_too_large 413'],
    origin: [{ ending: 'broken', body: 'part' }],
  },
  {
    does: 'an answer with a declared length over response_bytes is 502',
    play: asks({}, CAPPED),
    script: (turn) => turn.answer(200, [], 'x'.repeat(CAP_BYTES + 1)),
    client: refusal(502, 'response_too_large'),
    trail: ['allow refused response_too_large 502'],
    origin: [{}],
  },
  {
    does: 'an answer that grows over response_bytes is broken off',
    play: async (bed, path) => {
      const begun = gate()
      bed.origin.on(path, async (turn) => {
        turn.head(200)
        await turn.write('part')
        await begun.opened
        await turn.write('x'.repeat(CAP_BYTES))
        turn.end()
      })
      const exchange = (await bed.client(CAPPED)).begin({ path })
      await exchange.take(4)
      begun.open()
      return briefly(await exchange.answer())
    },
    client: { status: 200, ending: 'broken' },
    trail: ['allow refused response_too_large 200'],
    origin: [{}],
  },
  {
    does: 'a body that a rule forbids is 403',
    play: asks({ method: 'POST', fields: JSON_TYPE, body: '{"To":"a","Bcc":"b"}' }, INSPECTED),
    client: refusal(403, 'body_rule'),
    trail: ['deny refused body_rule 403'],
    origin: [],
  },
  {
    does: 'a body that a rule has looked at arrives byte by byte',
    play: asks({ method: 'POST', fields: JSON_TYPE, body: '{ "To": "a",\n "n": 1.0 }' }, INSPECTED),
    client: OK,
    trail: PASSED,
    origin: [{ body: '{ "To": "a",\n "n": 1.0 }' }],
  },
  {
    does: 'a body that is not told the length of is looked at too',
    play: async (bed, path) => {
      const exchange = (await bed.client(INSPECTED)).begin({ method: 'POST', path, streamed: true, fields: JSON_TYPE })
      await exchange.write('{"Bc')
      await exchange.write('c":1}')
      exchange.end()
      return exchange.answer()
    },
    client: refusal(403, 'body_rule'),
    trail: ['deny refused body_rule 403'],
    origin: [],
  },
  {
    does: 'a client that expects 100 is told to go on, and the origin does not hear of it',
    play: async (bed, path) => {
      const exchange = await waits(bed, path, [['Content-Length', '4']])
      await exchange.continued
      await exchange.write('body')
      exchange.end()
      return exchange.answer()
    },
    client: { ...OK, interim: [{ status: 100, fields: [] }] },
    trail: PASSED,
    origin: [{ body: 'body', fields: [['content-length', '4']] }],
  },
  {
    does: 'a client that expects 100 is not told to go on when it is denied',
    play: async (bed) => (await waits(bed, '/never/ever', [['Content-Length', '4']])).answer(),
    client: { status: 403, interim: [] },
    trail: ['deny refused denied_by_rule 403'],
    origin: [],
  },
  {
    does: 'a client that expects 100 is told to go on for a body that has to be looked at',
    play: async (bed, path) => {
      const exchange = await waits(bed, path, [...JSON_TYPE, ['Content-Length', '9']], INSPECTED)
      await exchange.continued
      await exchange.write('{"Bcc":1}')
      exchange.end()
      return exchange.answer()
    },
    client: { status: 403, interim: [{ status: 100 }] },
    trail: ['deny refused body_rule 403'],
    origin: [],
  },
  {
    does: 'another expectation is 417',
    play: asks({ method: 'POST', fields: [['Expect', 'a-miracle']], body: 'body' }),
    client: refusal(417, 'expectation'),
    trail: ['deny refused expectation 417'],
    origin: [],
  },
]
