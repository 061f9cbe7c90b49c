// Fields that Connection names, to have the proxy drop what the other side needs to see: only what may go is dropped, and nothing unjudged.

import { expect, it } from 'vitest'
import { HOST, INSPECTED, refusalOf } from '../doors/support/bed.ts'
import { ok } from '../support/scripted-origin.ts'
import { EVERY_WAY, eachWay } from './support/foreign.ts'

const RESTRICTED = 'restricted.allowed.test'
const RULES = `  - { id: open, audit: headers, allow: { hosts: [${HOST}], ports: [PORT], schemes: [http, https] } }
  - { id: restricted, allow: { hosts: [${RESTRICTED}], ports: [PORT], schemes: [http, https], methods: [GET] } }
  - id: inspected
    allow: { hosts: [${INSPECTED}], ports: [PORT], schemes: [http, https] }
    body: { json: [{ path: $.Bcc, must: be-absent }] }
`
const NAMES = Object.fromEntries([HOST, INSPECTED, RESTRICTED].map((name) => [name, ['127.0.0.1']]))

/** What must arrive whoever names it: it was judged, frames the body, or is a credential of the request. */
const KEPT: readonly (readonly [name: string, value: string])[] = [
  ['Authorization', 'Bearer b'],
  ['Cookie', 'c=1'],
  ['Content-Type', 'application/json'],
  ['Content-Encoding', 'identity'],
  ['Content-Range', 'bytes 0-1/2'],
  ['Origin', 'https://o.test'],
]
const lines = (fields: readonly (readonly [string, string])[]): string =>
  fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
const keptNames = KEPT.map(([name]) => name)

const NOMINATIONS: readonly (readonly [how: string, connection: string])[] = [
  ['one by one', keptNames.map((name) => `Connection: ${name}\r\n`).join('')],
  ['in one list', `Connection: ${keptNames.join(',')}\r\n`],
  ['in another case', `cONNECTION: ${keptNames.join(', ').toUpperCase()}\r\n`],
  ['between tabs and empty members', `Connection: ,,\t${keptNames.join('\t,, \t')} ,\r\n`],
  ['beside close', `Connection: close, ${keptNames.join(', ')}\r\n`],
]

eachWay(
  EVERY_WAY,
  (bed) => {
    it.each(NOMINATIONS)('[J08] what was judged or says who asks arrives, named %s', async (how, connection) => {
      const { ask, authority, origin } = bed()
      const path = `/kept/${how.replaceAll(' ', '-')}`
      const fields = `${connection}${lines(KEPT)}Content-Length: 2\r\n`
      expect((await ask(path, { method: 'POST', fields, body: 'hi' })).status).toBe(200)
      const head = `POST ${path} HTTP/1.1\r\nHost: ${authority()}\r\n${lines(KEPT)}Content-Length: 2\r\n\r\n`
      expect(origin.askedFor(path)[0]?.head).toBe(head)
    })

    it('[J08] Host and what frames the body are ours to write, so that naming them changes nothing', async () => {
      const { ask, authority, origin } = bed()
      const bodies: string[] = []
      origin.on('/framed', async (wire, asked) => {
        bodies.push((await asked.body()).body)
        wire.write(ok('ok'))
      })
      const fields = 'Connection: Host, Transfer-Encoding, Content-Length, Expect\r\nTransfer-Encoding: chunked\r\n'
      expect((await ask('/framed', { method: 'POST', fields, body: '2\r\nhi\r\n0\r\n\r\n' })).status).toBe(200)
      const head = `POST /framed HTTP/1.1\r\nHost: ${authority()}\r\nTransfer-Encoding: chunked\r\n\r\n`
      expect([origin.askedFor('/framed')[0]?.head, bodies]).toEqual([head, ['hi']])
    })

    it('[J08] any other field that is named stays here, and the trail has it as it was sent', async () => {
      const { ask, authority, decided, origin } = bed()
      const sent = 'Connection: close, X-Policy\r\nx-policy: a\r\nX-POLICY: b\r\nX-Policy-2: c\r\n'
      expect((await ask('/policy', { fields: sent })).status).toBe(200)
      expect(origin.askedFor('/policy')[0]?.fields).toEqual([
        ['Host', authority()],
        ['X-Policy-2', 'c'],
      ])
      expect((await decided('/policy'))['request_headers']).toEqual([
        ['Host', authority()],
        ['Connection', 'close, X-Policy'],
        ['x-policy', 'a'],
        ['X-POLICY', 'b'],
        ['X-Policy-2', 'c'],
      ])
    })

    it('[J08] a field that another method hides in is judged before it is dropped', async () => {
      const { ask, origin } = bed()
      const fields = 'Connection: X-HTTP-Method-Override\r\nX-HTTP-Method-Override: DELETE\r\n'
      const answer = await ask('/overridden', { host: RESTRICTED, fields })
      expect([answer.status, refusalOf(answer).reason]).toEqual([403, 'override_header'])
      expect(origin.askedFor('/overridden')).toEqual([])
    })

    it('[J08] what a body is read by can not be named away between the judgement and the origin', async () => {
      const { ask, origin } = bed()
      const send = (path: string, body: string): ReturnType<typeof ask> => {
        const about = 'Connection: Content-Type, Content-Encoding\r\nContent-Type: application/json\r\n'
        const fields = `${about}Content-Length: ${body.length}\r\n`
        return ask(path, { host: INSPECTED, method: 'POST', fields, body })
      }
      expect((await send('/mail/honest', '{"To":"a"}')).status).toBe(200)
      expect(origin.askedFor('/mail/honest')[0]?.fields).toContainEqual(['Content-Type', 'application/json'])
      const answer = await send('/mail/copy', '{"Bcc":"a"}')
      expect([answer.status, refusalOf(answer).reason]).toEqual([403, 'body_rule'])
      expect(origin.askedFor('/mail/copy')).toEqual([])
    })

    it('[J08] a refusal has its own fields, whatever the request named', async () => {
      const answer = await bed().ask('/', {
        host: RESTRICTED,
        method: 'DELETE',
        fields: 'Connection: X-Request-ID, Proxy-Status, Content-Type, Content-Length\r\n',
      })
      expect(refusalOf(answer).reason).toBe('no_matching_rule')
      const names = answer.fields.map(([name]) => name)
      expect(names).toEqual(expect.arrayContaining(['X-Request-ID', 'Proxy-Status', 'Content-Type']))
    })

    it('[J08] an origin that names the cookies it sets sets them all the same', async () => {
      const { ask, origin } = bed()
      const kept = 'Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Type: text/plain\r\n'
      origin.on('/answer', (wire) =>
        wire.write(ok('ok', `Connection: Set-Cookie, Content-Type, Content-Length, X-Hop\r\nX-Hop: 1\r\n${kept}`)),
      )
      expect((await ask('/answer')).fields).toEqual([
        ['Set-Cookie', 'a=1'],
        ['Set-Cookie', 'b=2'],
        ['Content-Type', 'text/plain'],
        ['Content-Length', '2'],
      ])
    })
  },
  { rules: RULES, names: NAMES },
)
