// TLS without a usable server name: the connection has the name it can prove or its bare address, and is never tunnelled unread.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connect as connectTls } from 'node:tls'
import { connectVia, exchangeOn, httpsRedirected, opened, readUntil, reasonOf, tcp } from '../support/clients.ts'
import { clientHello, fatalAlert } from '../support/client-hello.ts'
import { ALLOWED, DOORS, type Standard, startStandard } from '../support/standard.ts'
import { seenBy, witness } from '../support/witness.ts'

const ADDRESS = '203.0.113.9'
const UNRECOGNIZED_NAME = 112

let standard: Standard
beforeAll(async () => {
  standard = await startStandard({ more: '  - { id: address, allow: { hosts: [127.0.0.1], ports: [PORT] } }' })
})
afterAll(() => standard.close())
beforeEach(() => {
  const { lab, origin } = standard
  origin.seen.length = 0
  lab.resolved.length = 0
  lab.redirectTo({ address: '127.0.0.1', port: origin.port })
})

describe('without SNI', () => {
  it('[A18] redirected to an address that no rule names: denied inside, under a certificate for the address', async () => {
    const { lab, origin } = standard
    lab.redirectTo({ address: ADDRESS, port: 443 })
    const left = await witness(standard, async () => {
      const socket = await httpsRedirected(lab, '', { address: ADDRESS })
      const answer = await exchangeOn(socket, `GET /a HTTP/1.1\r\nHost: ${ADDRESS}\r\n\r\n`)
      socket.destroy()
      expect([answer.status, reasonOf(answer)]).toEqual([403, 'no_matching_rule'])
    })
    expect(left.decided[0]).toMatchObject({
      decision: 'deny',
      host: ADDRESS,
      sni: null,
      original_destination: `${ADDRESS}:443`,
    })
    expect(origin.seen.map(({ url }) => url)).not.toContain('/a')
  })

  it.each([
    ['an allowed name', ALLOWED],
    ['another address', '198.51.100.7'],
  ])('[A18] redirected to an address, and the Host is %s: the names disagree', async (_name, host) => {
    const { lab, origin } = standard
    lab.redirectTo({ address: ADDRESS, port: origin.port })
    const left = await witness(standard, async () => {
      const socket = await httpsRedirected(lab, '', { address: ADDRESS })
      const answer = await exchangeOn(socket, `GET /a HTTP/1.1\r\nHost: ${host}:${origin.port}\r\n\r\n`)
      socket.destroy()
      expect([answer.status, reasonOf(answer)]).toEqual([421, 'identity_mismatch'])
    })
    expect(left.decided[0]).toMatchObject({ decision: 'deny', reason: 'identity_mismatch', sni: null })
    expect(seenBy(standard)).toEqual([])
  })

  it('[A18] redirected to an address that a rule names: judged by that rule, and its certificate is checked for the address', async () => {
    const { lab, origin } = standard
    const left = await witness(standard, async () => {
      const socket = await httpsRedirected(lab, '', { address: '127.0.0.1' })
      const answer = await exchangeOn(socket, `GET /a HTTP/1.1\r\nHost: 127.0.0.1:${origin.port}\r\n\r\n`)
      socket.destroy()
      expect([answer.status, reasonOf(answer)]).toEqual([502, 'upstream_tls'])
    })
    expect(left.decided[0]).toMatchObject({ decision: 'allow', rule: 'address', host: '127.0.0.1', sni: null })
    expect(seenBy(standard)).toEqual([])
  })

  it('[A18] inside a CONNECT: the name of the CONNECT is the name', async () => {
    const { lab, authority } = standard
    const left = await witness(standard, async () => {
      const { socket } = await connectVia(lab, authority)
      const tls = connectTls({ socket, servername: '', host: ALLOWED, ca: lab.ca })
      await opened(tls, 'secureConnect')
      const answer = await exchangeOn(tls, `GET /a HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
      tls.destroy()
      expect(answer.status).toBe(200)
    })
    expect(left.decided[0]).toMatchObject({ decision: 'allow', host: ALLOWED, sni: null })
    expect(seenBy(standard)).toEqual(['/a'])
  })
})

const MALFORMED: [string, string][] = [
  ['[H23] a path', '../../etc/passwd'],
  ['[H23] CR LF', 'api.allowed.test\r\nX: y'],
  ['[H23] a space', 'api.allowed.test evil.test'],
  ['[H23] a NUL', 'api.allowed.test\0.evil.test'],
  ['[H23] a wildcard', '*.allowed.test'],
  ['[H23] a port', 'api.allowed.test:443'],
  ['[H23] userinfo', 'api.allowed.test@evil.test'],
  ['[H23] two dots', 'api..allowed.test'],
  ['[H23] latin-1', 'api.allowed.t\u00e9st'],
  ['[H23] a terminal escape', '\u001b[2Japi.allowed.test'],
  ['[H23] 300 bytes', `${'a.'.repeat(148)}test`],
]

describe.each(DOORS)('a server name that is none, through the %s door', (door) => {
  it.each(MALFORMED)('%s', async (_name, name) => {
    const { lab, authority } = standard
    const left = await witness(standard, async () => {
      const socket = door === 'connect' ? (await connectVia(lab, authority)).socket : await tcp(lab.transparentPort)
      const answer = readUntil(socket)
      socket.end(clientHello({ name }))
      expect(fatalAlert(await answer)).toBe(UNRECOGNIZED_NAME)
    })
    expect(left.decided[0]).toMatchObject({ decision: 'deny', enforced: true, path: null, method: null })
    expect(lab.resolved.filter((resolved) => resolved !== ALLOWED)).toEqual([])
    expect(seenBy(standard)).toEqual([])
  })
})

it.each([
  ['upper case', 'API.Allowed.TEST'],
  ['a trailing dot', `${ALLOWED}.`],
])('[H23] %s is the same name', async (_name, servername) => {
  const { lab, authority } = standard
  await witness(standard, async () => {
    const { socket } = await connectVia(lab, authority)
    const tls = connectTls({ socket, servername, ca: lab.ca, checkServerIdentity: () => undefined })
    await opened(tls, 'secureConnect')
    const answer = await exchangeOn(tls, `GET /same HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
    tls.destroy()
    expect(answer.status).toBe(200)
  })
  expect(seenBy(standard)).toEqual(['/same'])
})

it.each(['__proto__', 'constructor', 'hasownproperty'])(
  '[H23] %s is a denied name like any other',
  async (servername) => {
    const { lab, origin } = standard
    const left = await witness(standard, async () => {
      const socket = await tcp(lab.transparentPort)
      const tls = connectTls({ socket, servername, ca: lab.ca })
      await opened(tls, 'secureConnect')
      const answer = await exchangeOn(tls, `GET / HTTP/1.1\r\nHost: ${servername}:${origin.port}\r\n\r\n`)
      tls.destroy()
      expect([answer.status, reasonOf(answer)]).toEqual([403, 'no_matching_rule'])
    })
    expect(left.decided[0]).toMatchObject({ decision: 'deny', host: servername })
  },
)
