// Answers that would lead a client elsewhere: what leads past the proxy stays here, in every protocol; the rest arrives as it is and is recorded.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HOST } from '../doors/support/bed.ts'
import { type Cell, type ProtocolBed, RECORDED, startProtocolBed } from '../doors/support/protocol-bed.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { ok } from '../support/scripted-origin.ts'
import { DOORS } from '../support/standard.ts'
import { EVERY_WAY, eachWay } from './support/foreign.ts'
import { ask, type OriginBed, startOriginBed } from './support/http2-origin-bed.ts'
import { data, head, outcomeOn, raw, RawPeer } from './support/http2-wire.ts'

const H3 = 'h3=":443"; ma=2592000'
const PROXY_SCRIPT = 'function FindProxyForURL() { return "PROXY evil.test:8080; DIRECT" }'
const RULES = `  - { id: recorded, audit: headers, allow: { hosts: [${HOST}], ports: [PORT], schemes: [http, https] } }\n`

/** Leads the client to somewhere else, by a way that leads through the proxy again and is judged there. */
const STEERING: readonly (readonly [name: string, value: string])[] = [
  ['Refresh', '0; url=https://evil.test/?stolen=1'],
  ['Link', '<https://evil.test/x.js>; rel=preload; as=script'],
  ['Content-Location', 'https://evil.test/'],
  ['SourceMap', 'https://evil.test/map'],
  ['Report-To', '{"endpoints":[{"url":"https://evil.test/r"}]}'],
  ['NEL', '{"report_to":"evil"}'],
  ['Origin-Agent-Cluster', '?1'],
  ['Clear-Site-Data', '"*"'],
  ['Content-Type', 'application/x-ns-proxy-autoconfig'],
]
const FINGERPRINT = 'hmac:[0-9a-f]{16}'

eachWay(
  EVERY_WAY,
  (bed) => {
    it('[J10] arrives as it is, and stands in the trail, cookies for another domain without their value', async () => {
      const { ask: asks, attempt, origin } = bed()
      const lines = STEERING.map(([name, value]) => `${name}: ${value}\r\n`).join('')
      const cookie = 'sid=planted; Domain=other.test; Path=/; Max-Age=99999'
      origin.on('/steering', (wire) => wire.write(ok(PROXY_SCRIPT, `${lines}Set-Cookie: ${cookie}\r\n`)))
      const answer = await asks('/steering')
      expect(answer.body).toBe(PROXY_SCRIPT)
      const length: [string, string] = ['Content-Length', String(PROXY_SCRIPT.length)]
      expect(answer.fields).toEqual([...STEERING, ['Set-Cookie', cookie], length])
      const { completed } = await attempt('/steering')
      const recorded = completed['response_headers'] as [string, string][]
      expect(recorded.filter(([name]) => name !== 'Set-Cookie')).toEqual([...STEERING, length])
      const [, crumb] = recorded.find(([name]) => name === 'Set-Cookie') ?? []
      expect(crumb).toMatch(new RegExp(`^sid=${FINGERPRINT}; Domain=other\\.test; Path=/; Max-Age=99999$`))
    })

    it('[J10] an invitation past the proxy does not arrive, and the trail tells that there was one', async () => {
      const { ask: asks, attempt, origin } = bed()
      origin.on('/invitation', (wire) => wire.write(ok('ok', `Alt-Svc: ${H3}\r\nX-Kept: 1\r\n`)))
      expect((await asks('/invitation')).fields).toEqual([
        ['X-Kept', '1'],
        ['Content-Length', '2'],
      ])
      const { completed } = await attempt('/invitation')
      expect(completed['response_headers']).toContainEqual(['Alt-Svc', H3])
    })
  },
  { rules: RULES },
)

const VERSIONS = ['http/1.1', 'h2'] as const
const CELLS: readonly Cell[] = DOORS.flatMap((door) =>
  VERSIONS.flatMap((client) => VERSIONS.map((origin): Cell => ({ door, tls: true, client, origin }))),
)

describe.each(CELLS.map((cell) => [cell.door, cell.client, cell.origin, cell] as const))(
  '%s, %s in and %s out',
  (_door, _client, _origin, cell) => {
    let bed: ProtocolBed
    beforeAll(async () => {
      bed = await startProtocolBed(cell)
    })
    afterAll(() => bed.close())

    it('[J10] Alt-Svc arrives neither in a head nor in a trailer; Refresh and cookies do', async () => {
      bed.origin.on('/steered', async (turn) => {
        turn.head(200, [
          ['Alt-Svc', H3],
          ['Refresh', '0; url=https://evil.test/'],
          ['Set-Cookie', 'a=1; Domain=other.test'],
          ['Trailer', 'Alt-Svc, X-Checksum'],
        ])
        await turn.write('body')
        turn.end({ 'alt-svc': H3, 'x-checksum': '7' })
      })
      const answer = await bed.ask({ path: '/steered' }, RECORDED)
      expect(answer.body).toBe('body')
      const named = answer.fields.map(([name]) => name.toLowerCase())
      expect(named).toEqual(expect.arrayContaining(['refresh', 'set-cookie']))
      expect(named).not.toContain('alt-svc')
      expect(answer.trailers).toEqual([['x-checksum', '7']])
    })
  },
)

/** RFC 7838 §4, RFC 8336 §2: frames of their own, beside every stream. */
const ALTSVC = 0xa
const ORIGIN = 0xc

describe.each(DOORS)('through the door %s', (door) => {
  let root: TestRoot
  let bed: OriginBed
  let close: () => Promise<void>
  beforeAll(async () => {
    root = createTestRoot()
    ;({ bed, close } = await startOriginBed(root, door, 'h2'))
  })
  afterAll(async () => {
    await close()
    root.close()
  })

  it.each([
    ['ALTSVC on the stream', ALTSVC, 0, `\0\0${H3}`],
    ['ALTSVC on the connection', ALTSVC, null, `\0\x11https://evil.test${H3}`],
    ['ORIGIN', ORIGIN, null, '\0\x11https://evil.test'],
  ])('[J10] an invitation in a frame of its own, %s, does not arrive', async (_what, type, on, payload) => {
    bed.on('/frame', (id) => [
      raw(type, 0, on === null ? 0 : id, payload),
      head(id, [':status', '200'], false),
      data(id, 'ok', true),
    ])
    const peer = new RawPeer(await bed.open())
    peer.begin()
    peer.write(head(1, ask('GET', bed.authority, '/frame')))
    expect(await outcomeOn(peer, 1)).toEqual({ status: '200', reset: undefined })
    expect(peer.body(1).toString()).toBe('ok')
    expect(peer.of('unknown')).toEqual([])
    peer.stream.destroy()
  })

  it('[J10] nor in an interim answer', async () => {
    bed.on('/interim', (id) => [
      head(id, [':status', '103', 'link', '</a.css>; rel=preload', 'alt-svc', H3], false),
      head(id, [':status', '200', 'alt-svc', H3], false),
      data(id, 'ok', true),
    ])
    const peer = new RawPeer(await bed.open())
    peer.begin()
    peer.write(head(1, ask('GET', bed.authority, '/interim')))
    await outcomeOn(peer, 1)
    expect(peer.blocks.get(1)?.map(({ fields }) => fields)).toEqual([
      [':status', '103', 'link', '</a.css>; rel=preload'],
      [':status', '200'],
    ])
    peer.stream.destroy()
  })
})
