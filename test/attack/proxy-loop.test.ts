// The proxy as its own destination, by whatever address, name or detour: it is never dialled, and nothing is read from its listeners.

import { networkInterfaces } from 'node:os'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connectVia, exchangeOn, httpsRedirected, opened, reasonOf, tcp } from '../support/clients.ts'
import { type Lab, startLab } from '../support/lab.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { ALLOWED, type Standard, startStandard } from '../support/standard.ts'
import { seenBy, witness } from '../support/witness.ts'

const ALIAS = 'me.alias.test'
const LISTENERS = ['proxyPort', 'transparentPort', 'gatewayPort', 'adminPort'] as const

let standard: Standard
beforeAll(async () => {
  standard = await startStandard({
    names: {
      [ALIAS]: ['127.0.0.1'],
      'both.alias.test': ['203.0.113.9', '127.0.0.1'],
      'mapped.alias.test': ['::ffff:127.0.0.1'],
    },
    upstreamAllow: ['127.0.0.0/8', '::1/128', '203.0.113.0/24', '0.0.0.0/8'],
  })
  const { lab, origin } = standard
  const ports = LISTENERS.map((listener) => lab[listener]).join(', ')
  lab.reload({
    rules: `  - { id: standard, allow: { hosts: [${ALLOWED}], ports: [${origin.port}] } }
  - { id: alias, allow: { hosts: ["*.alias.test"], ports: [${ports}], schemes: [http, https] } }
  - { id: here, allow: { hosts: [127.0.0.1, "[::1]"], ports: [${ports}], schemes: [http, https] } }`,
  })
})
afterAll(() => standard.close())
beforeEach(() => {
  const { lab, origin } = standard
  lab.redirectTo({ address: '127.0.0.1', port: origin.port })
  origin.seen.length = 0
})

async function absolute(lab: Lab, authority: string, fields = ''): ReturnType<typeof exchangeOn> {
  const socket = await tcp(lab.proxyPort)
  const answer = await exchangeOn(
    socket,
    `GET http://${authority}/metrics HTTP/1.1\r\nHost: ${authority}\r\n${fields}\r\n`,
  )
  socket.destroy()
  return answer
}

describe('[A21] a connection that nobody redirected', () => {
  beforeEach(() => standard.lab.redirectTo(null))

  it.each([
    ['an allowed Host', () => standard.authority],
    ['no name but the address of the listener', () => `127.0.0.1:${standard.lab.transparentPort}`],
  ])('plain, with %s', async (_name, host) => {
    const { lab } = standard
    const left = await witness(standard, async () => {
      const socket = await tcp(lab.transparentPort)
      const answer = await exchangeOn(socket, `GET / HTTP/1.1\r\nHost: ${host()}\r\n\r\n`)
      socket.destroy()
      expect([answer.status, reasonOf(answer)]).toEqual([403, 'self'])
      expect(answer.headers.get('proxy-status')).toContain('proxy_loop_detected')
    })
    expect(left.decided[0]).toMatchObject({ decision: 'deny', reason: 'self', security_flags: ['not_redirected'] })
    expect(seenBy(standard)).toEqual([])
  })

  it('TLS for an allowed name', async () => {
    const { lab, authority } = standard
    const left = await witness(standard, async () => {
      const socket = await httpsRedirected(lab, ALLOWED)
      const answer = await exchangeOn(socket, `GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
      socket.destroy()
      expect([answer.status, reasonOf(answer)]).toEqual([403, 'self'])
    })
    expect(left.decided[0]).toMatchObject({ decision: 'deny', reason: 'self', sni: ALLOWED })
    expect(seenBy(standard)).toEqual([])
  })
})

describe.each(LISTENERS)('[E14] our own %s', (listener) => {
  const target = (host: string): string => `${host}:${standard.lab[listener]}`

  it.each([
    ['by a name that a wildcard allows', ALIAS],
    ['by a name with one harmless address', 'both.alias.test'],
    ['by a name for a mapped address', 'mapped.alias.test'],
  ])('%s: allowed by name, refused before the dial', async (_name, host) => {
    const left = await witness(standard, async () => {
      const answer = await absolute(standard.lab, target(host))
      expect([answer.status, reasonOf(answer)]).toEqual([403, 'self'])
    })
    expect(left.decided[0]).toMatchObject({ decision: 'allow', rule: 'alias' })
    expect(left.completed[0]).toMatchObject({ outcome: 'refused', reason: 'self', upstream_address: null })
  })

  it.each(['127.0.0.1', '127.9.8.7', '0.0.0.0', '[::1]', '[::]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]'])(
    'by %s',
    async (host) => {
      const left = await witness(standard, async () => {
        const answer = await absolute(standard.lab, target(host))
        expect([answer.status, reasonOf(answer)]).toEqual([403, 'self'])
      })
      expect(left.decided[0]).toMatchObject({ decision: 'deny', reason: 'self' })
    },
  )

  it('by every address of this machine', async () => {
    const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
    for (const { address, family } of addresses) {
      const answer = await absolute(standard.lab, target(family === 'IPv6' ? `[${address}]` : address))
      expect([address, answer.status, reasonOf(answer)]).toEqual([address, 403, 'self'])
    }
  })

  it('inside a CONNECT, in the clear', async () => {
    const left = await witness(standard, async () => {
      const { socket } = await connectVia(standard.lab, target('127.0.0.1'))
      const answer = await exchangeOn(socket, `GET /metrics HTTP/1.1\r\nHost: ${target('127.0.0.1')}\r\n\r\n`)
      socket.destroy()
      expect([answer.status, reasonOf(answer)]).toEqual([403, 'self'])
    })
    expect(left.decided[0]).toMatchObject({ decision: 'deny', reason: 'self', door: 'connect' })
  })

  it('inside a CONNECT, under TLS', async () => {
    const { lab } = standard
    await witness(standard, async () => {
      const { socket } = await connectVia(lab, target(ALIAS))
      const tls = await opened(connectTls({ socket, servername: ALIAS, ca: lab.ca }), 'secureConnect')
      const answer = await exchangeOn(tls, `GET /metrics HTTP/1.1\r\nHost: ${target(ALIAS)}\r\n\r\n`)
      tls.destroy()
      expect([answer.status, reasonOf(answer)]).toEqual([403, 'self'])
    })
  })

  it('as the original destination of a redirected connection', async () => {
    const { lab } = standard
    lab.redirectTo({ address: '127.0.0.1', port: lab[listener] })
    await witness(standard, async () => {
      const socket = await tcp(lab.transparentPort)
      const answer = await exchangeOn(socket, `GET /metrics HTTP/1.1\r\nHost: ${target('127.0.0.1')}\r\n\r\n`)
      socket.destroy()
      expect([answer.status, reasonOf(answer)]).toEqual([403, 'self'])
    })
  })
})

describe('[E16] a chain of two proxies', () => {
  const NAME = 'loop.test'
  let root: TestRoot
  let first: Lab
  let second: Lab
  beforeAll(async () => {
    root = createTestRoot()
    const names = { [NAME]: ['127.0.0.1'] }
    second = await startLab({ root, rules: '', names })
    const rules = `  - { id: loop, allow: { hosts: [${NAME}], ports: [${second.gatewayPort}], schemes: [http, https] } }`
    second.reload({ rules })
    first = await startLab({ root, rules, names })
  })
  afterAll(async () => {
    await first.close()
    await second.close()
    root.close()
  })

  it('ends at the one whose own address the name leads to', async () => {
    const answer = await absolute(first, `${NAME}:${second.gatewayPort}`)
    expect([answer.status, reasonOf(answer)]).toEqual([403, 'self'])
    expect(await first.waitFor('request.completed', 1)).toMatchObject([{ outcome: 'completed', status: 403 }])
    expect(await second.waitFor('request.completed', 1)).toMatchObject([{ outcome: 'refused', reason: 'self' }])
  })

  it('does not even begin under TLS: one proxy does not trust the CA of the other', async () => {
    const { socket } = await connectVia(first, `${NAME}:${second.gatewayPort}`)
    const tls = await opened(connectTls({ socket, servername: NAME, ca: first.ca }), 'secureConnect')
    const answer = await exchangeOn(tls, `GET / HTTP/1.1\r\nHost: ${NAME}:${second.gatewayPort}\r\n\r\n`)
    tls.destroy()
    expect([answer.status, reasonOf(answer)]).toEqual([502, 'upstream_tls'])
  })
})
