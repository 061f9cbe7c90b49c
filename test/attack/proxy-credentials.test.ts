// The credentials a client has for the proxy: they name it here, and never travel on to an origin, however they are sent.

import { expect, it } from 'vitest'
import { type Bed, HOST, TOKEN, TOKENED } from '../doors/support/bed.ts'
import { ok } from '../support/scripted-origin.ts'
import { valuesOf } from '../support/wire.ts'
import { EVERY_WAY, eachWay } from './support/foreign.ts'
import { eachCell } from './support/http2-bed.ts'
import { head, outcomeOn } from './support/http2-wire.ts'

const BASIC = `Basic ${Buffer.from(`robot:${TOKEN}`).toString('base64')}`
const LINE = `Proxy-Authorization: ${BASIC}\r\n`
const RULES = `  - { id: open, audit: headers, allow: { hosts: [${HOST}], ports: [PORT], schemes: [http, https], upgrade: [websocket] } }
  - { id: tokened, clients: [robot], allow: { hosts: [${TOKENED}], ports: [PORT], schemes: [http, https] } }
`
const HANDSHAKE =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'

const SENT: readonly (readonly [how: string, fields: string])[] = [
  ['as they should be', LINE],
  ['with a token', `Proxy-Authorization: Bearer ${TOKEN}\r\n`],
  ['in capitals', LINE.toUpperCase().replace(BASIC.toUpperCase(), BASIC)],
  ['in small letters', LINE.replace('Proxy-Authorization', 'proxy-authorization')],
  ['named by Connection', `Connection: keep-alive, Proxy-Authorization\r\n${LINE}`],
  ['named by Connection behind it', `${LINE}Connection: proxy-authorization\r\n`],
  ['beside a Connection that names the field which is kept', `Connection: Authorization\r\n${LINE}`],
  ['with the old word for Connection', `Proxy-Connection: keep-alive, Proxy-Authorization\r\n${LINE}`],
  ['twice', LINE + LINE],
  ['twice, once wrong', `${LINE}Proxy-Authorization: Basic eDp5\r\n`],
  ['with an offer to go on as a WebSocket', HANDSHAKE + LINE],
]

/** Everything that reached the origin, in heads. */
const atOrigin = ({ origin }: Bed): string => origin.asked.map(({ head: bytes }) => bytes).join('')

eachWay(
  EVERY_WAY,
  (bed, way) => {
    it.each(SENT)('[J07] %s: nothing of them at the origin, nothing in the trail', async (how, fields) => {
      const { ask, lab } = bed()
      const path = `/credentials/${how.replaceAll(' ', '-')}`
      const { status } = await ask(path, { fields: `${fields}X-Honest: 1\r\n` })
      // Two of them are none that anybody accepts. On a CONNECT and by address the client is known already.
      const accepted = way.door !== 'absolute' || !how.startsWith('twice')
      expect(status).toBe(accepted ? 200 : 407)
      const arrived = bed().origin.askedFor(path)
      expect(arrived.flatMap((asked) => valuesOf(asked, 'x-honest'))).toEqual(accepted ? ['1'] : [])
      expect(atOrigin(bed())).not.toMatch(/proxy-auth/i)
      expect(atOrigin(bed())).not.toContain(BASIC)
      expect(JSON.stringify(lab.records())).not.toContain(TOKEN)
      expect(JSON.stringify(lab.records())).not.toContain(BASIC)
    })

    it.skipIf(way.door !== 'connect')(
      '[J07] on a CONNECT they stay with it, for every request in the tunnel',
      async () => {
        const { open, request, origin, decided } = bed()
        const wire = await open(TOKENED, LINE)
        for (const path of ['/tunnel/1', '/tunnel/2']) {
          wire.write(request(path, { host: TOKENED, fields: path.endsWith('2') ? LINE : '' }))
          expect((await wire.message()).status).toBe(200)
          expect(origin.askedFor(path)[0]?.fields.map(([name]) => name)).toEqual(['Host'])
          expect(await decided(path)).toMatchObject({ client: { name: 'robot' } })
        }
        wire.socket.destroy()
      },
    )

    it.skipIf(way.door !== 'absolute')(
      '[J07] those that name the client do it, and stay here all the same',
      async () => {
        const { ask, origin, decided } = bed()
        expect((await ask('/named', { host: TOKENED, fields: LINE })).status).toBe(200)
        expect(origin.askedFor('/named')[0]?.fields.map(([name]) => name)).toEqual(['Host'])
        expect(await decided('/named')).toMatchObject({ client: { name: 'robot' }, rule: 'tokened' })
      },
    )

    it('[J07] an origin can not ask for them: its challenge to proxies ends here', async () => {
      const { ask, origin } = bed()
      const challenge = 'Proxy-Authenticate: Basic realm="mcp-egress"\r\nProxy-Authentication-Info: x\r\n'
      origin.on('/challenge', (wire) =>
        wire.write(ok('who?', `${challenge}X-Kept: 1\r\n`).replace('200 OK', '407 Proxy Authentication Required')),
      )
      const answer = await ask('/challenge')
      expect([answer.status, answer.fields]).toEqual([
        407,
        [
          ['X-Kept', '1'],
          ['Content-Length', '4'],
        ],
      ])
    })
  },
  { rules: RULES },
)

eachCell((bed) => {
  it.each([
    ['once', ['proxy-authorization', BASIC]],
    ['twice', ['proxy-authorization', BASIC, 'proxy-authorization', 'Basic eDp5']],
  ])('[J07] in HTTP/2, %s: the origin gets the request without them', async (_times, fields) => {
    const { asked, attack } = bed()
    const left = await attack(1, async (peer) => {
      peer.write(head(1, asked('GET', '/credentials', ...fields, 'x-honest', '1')))
      expect(await outcomeOn(peer, 1)).toEqual({ status: '200', reset: undefined })
    })
    expect(left.got).toMatchObject([{ target: '/credentials', fields: ['x-honest', '1'] }])
    expect(left.bytes).not.toMatch(/proxy-auth/i)
  })
})
