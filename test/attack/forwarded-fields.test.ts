// Fields by which proxies tell who asked: what a client claims there is its own word, passed on and recorded as that, and we add none.

import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { HOST } from '../doors/support/bed.ts'
import { ok } from '../support/scripted-origin.ts'
import { EVERY_WAY, eachWay } from './support/foreign.ts'
import { eachCell } from './support/http2-bed.ts'
import { head, outcomeOn } from './support/http2-wire.ts'

const RULES = `  - { id: open, audit: headers, allow: { hosts: [${HOST}], ports: [PORT], schemes: [http, https] } }\n`
const CLAIMS: readonly (readonly [name: string, value: string])[] = [
  ['X-Forwarded-For', '10.0.0.7, 172.30.0.5'],
  ['x-forwarded-for', '192.168.1.1'],
  ['X-Forwarded-Host', 'admin.internal'],
  ['X-Forwarded-Proto', 'https'],
  ['X-Forwarded-Port', '8443'],
  ['X-Real-IP', '10.0.0.7'],
  ['Forwarded', 'for=10.0.0.7;host=admin.internal;proto=https;by=_gateway'],
  ['Via', '1.1 gateway.internal (squid/6.1)'],
  ['Via', '2 mcp-egress'],
  ['Max-Forwards', '0'],
]
const lines = CLAIMS.map(([name, value]) => `${name}: ${value}\r\n`).join('')
/** Of ours or of anybody on the way, where no client has claimed anything. */
const FORWARDED = /^(?:via|forwarded|x-forwarded-.*|x-real-ip|x-client-.*|x-request-id|true-client-ip|traceparent)$/i

eachWay(
  EVERY_WAY,
  (bed) => {
    it('[J09] what a client claims arrives as its words, in order and number, and the trail has them', async () => {
      const { ask, authority, decided, origin } = bed()
      expect((await ask('/claims', { fields: lines })).status).toBe(200)
      expect(origin.askedFor('/claims')[0]?.fields).toEqual([['Host', authority()], ...CLAIMS])
      expect(await decided('/claims')).toMatchObject({
        client: { name: 'anonymous', source: '127.0.0.1' },
        host: HOST,
        request_headers: [['Host', authority()], ...CLAIMS],
      })
    })

    it('[J09] of what is around us no origin learns: neither an address, nor a name of ours', async () => {
      const { ask, authority, origin } = bed()
      expect((await ask('/nothing')).status).toBe(200)
      const [asked] = origin.askedFor('/nothing')
      expect(asked?.head).toBe(`GET /nothing HTTP/1.1\r\nHost: ${authority()}\r\n\r\n`)
    })

    it('[J09] and of an answer no client learns more than its origin says', async () => {
      const { ask, origin } = bed()
      const said = 'Via: 1.1 varnish\r\nX-Served-By: cache-ams\r\n'
      origin.on('/via', (wire) => wire.write(ok('ok', said)))
      expect((await ask('/via')).fields).toEqual([
        ['Via', '1.1 varnish'],
        ['X-Served-By', 'cache-ams'],
        ['Content-Length', '2'],
      ])
      expect((await ask('/no-via')).fields).toEqual([['Content-Length', '2']])
    })
  },
  { rules: RULES },
)

eachCell((bed) => {
  it.each<[string, readonly (readonly [string, string])[]]>([
    ['what a client claims arrives as its words', CLAIMS],
    ['nothing is added where it claims nothing', []],
  ])('[J09] in HTTP/2 %s', async (_what, claims) => {
    const { asked, attack } = bed()
    const fields = claims.flatMap(([name, value]) => [name.toLowerCase(), value])
    const left = await attack(1, async (peer) => {
      peer.write(head(1, asked('GET', '/claims', ...fields)))
      expect(await outcomeOn(peer, 1)).toEqual({ status: '200', reset: undefined })
      const [answer] = peer.blocks.get(1) ?? []
      expect(answer?.fields.filter((name, at) => at % 2 === 0 && FORWARDED.test(name))).toEqual([])
    })
    expect(left.got).toMatchObject([{ target: '/claims', fields }])
  })
})

it('[J09] the threat model says whose word these fields are', () => {
  const text = readFileSync(new URL('../../SECURITY.md', import.meta.url), 'utf8').replaceAll(/\s+/g, ' ')
  for (const name of ['X-Forwarded-For', 'Forwarded', 'Via']) expect(text).toContain(`\`${name}\``)
  expect(text).toContain('passed on as it is and never believed')
})
