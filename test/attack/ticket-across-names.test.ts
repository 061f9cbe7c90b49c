// Sessions that are taken up again: a ticket is good for the name it was made for, never for another one or another client.

import { connect as connectTls, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connectVia, exchangeOn, opened, reasonOf } from '../support/clients.ts'
import { askWithOpenssl } from '../support/openssl-client.ts'
import { ALLOWED, ask, type Standard, startStandard } from '../support/standard.ts'
import { CLOSING, startTlsCanary, type TlsCanary } from '../support/tls-canary.ts'
import { witness } from '../support/witness.ts'
import { available } from '../tls/fixture.ts'

const SECOND = 'second.allowed.test'
const DENIED = 'evil.test'
const TENANT = 'tenant.test'
const ONE = 'one.test'
const TWO = 'two.test'

let standard: Standard
let canary: TlsCanary
beforeAll(async () => {
  canary = await startTlsCanary()
  standard = await startStandard({
    clients: `  - { name: tenant, token: "\${TENANT_TOKEN}" }`,
    env: { TENANT_TOKEN: 'a-token-of-the-tenant' },
    more: `  - { id: second, allow: { hosts: [${SECOND}], ports: [PORT] } }
  - { id: tenant, clients: [tenant], allow: { hosts: [${TENANT}], ports: [PORT], methods: [GET] } }
  - { id: nobody, allow: { hosts: [${TENANT}], ports: [PORT], methods: [OPTIONS] } }
  - { id: both, allow: { hosts: [${ONE}, ${TWO}], ports: [${canary.port}] } }`,
    names: { [SECOND]: ['127.0.0.1'], [TENANT]: ['127.0.0.1'], [ONE]: ['127.0.0.1'], [TWO]: ['127.0.0.1'] },
  })
})
afterAll(async () => {
  await standard.close()
  await canary.close()
})

type Version = 'TLSv1.2' | 'TLSv1.3'

interface Session {
  readonly tls: TLSSocket
  /** The last ticket the proxy gave. */
  readonly ticket: () => Buffer | undefined
}

async function tunnelled(host: string, maxVersion: Version, session?: Buffer, fields = ''): Promise<Session> {
  const { lab, origin } = standard
  const { socket } = await connectVia(lab, `${host}:${origin.port}`, fields)
  const tls = connectTls({
    socket,
    servername: host,
    ca: lab.ca,
    maxVersion,
    ...(session === undefined ? {} : { session }),
  })
  let ticket: Buffer | undefined
  tls.on('session', (given: Buffer) => {
    ticket = given
  })
  await opened(tls, 'secureConnect')
  return { tls, ticket: () => ticket }
}

const get = (tls: TLSSocket, host: string): ReturnType<typeof exchangeOn> =>
  exchangeOn(tls, `GET / HTTP/1.1\r\nHost: ${host}:${standard.origin.port}\r\n\r\n`)

/** A ticket for `host`, with the answer that was served under it. */
async function ticketFor(host: string, version: Version, fields = ''): Promise<Buffer> {
  const { tls, ticket } = await tunnelled(host, version, undefined, fields)
  await get(tls, host)
  tls.destroy()
  const given = ticket()
  if (given === undefined) throw new Error('no ticket')
  return given
}

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('towards clients, %s', (version) => {
  it('[H17] a ticket is taken up again under its own name', async () => {
    const ticket = await ticketFor(ALLOWED, version)
    const { tls } = await tunnelled(ALLOWED, version, ticket)
    const answer = await get(tls, ALLOWED)
    expect([tls.isSessionReused(), answer.status]).toEqual([true, 200])
    tls.destroy()
  })

  it.each([
    ['another allowed name', SECOND, 'allow', 502],
    ['a denied name', DENIED, 'deny', 403],
  ])('[H17] and not under %s', async (_name, host, decision, status) => {
    const ticket = await ticketFor(ALLOWED, version)
    const left = await witness(standard, async () => {
      const { tls } = await tunnelled(host, version, ticket)
      expect(tls.isSessionReused()).toBe(false)
      expect(tls.getPeerX509Certificate()?.subjectAltName).toBe(`DNS:${host}`)
      expect((await get(tls, host)).status).toBe(status)
      tls.destroy()
    })
    expect(left.decided[0]).toMatchObject({ host, sni: host, decision })
  })

  it('[H17] a session of one client carries nothing of that client over to another', async () => {
    const credentials = `Proxy-Authorization: Basic ${Buffer.from('tenant:a-token-of-the-tenant').toString('base64')}\r\n`
    const ticket = await ticketFor(TENANT, version, credentials)
    const left = await witness(standard, async () => {
      const { tls } = await tunnelled(TENANT, version, ticket)
      const answer = await get(tls, TENANT)
      expect([answer.status, reasonOf(answer)]).toEqual([403, 'no_matching_rule'])
      tls.destroy()
    })
    expect(left.decided[0]).toMatchObject({ decision: 'deny', client: { name: 'anonymous' } })
  })
})

describe.skipIf(!available('openssl', ['version']))('[H17] early data', () => {
  it('is not offered: a request that could be replayed is never read', async () => {
    const stdout = await askWithOpenssl(
      standard,
      { door: 'connect', report: true },
      `GET / HTTP/1.1\r\nHost: ${standard.authority}\r\nConnection: close\r\n\r\n`,
    )
    expect(stdout).toContain('Max Early Data: 0')
    expect(stdout).toContain('Early data was not sent')
  })
})

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('towards origins, %s', (maxVersion) => {
  const reused = new Map<string, boolean[]>()
  beforeEach(() => {
    reused.clear()
    for (const name of [ONE, TWO]) {
      canary.secured(name, { ...standard.root.issue(name), maxVersion, ticketKeys: Buffer.alloc(48, 1) }, (socket) => {
        reused.set(name, [...(reused.get(name) ?? []), socket.isSessionReused()])
        CLOSING(socket)
      })
    }
  })

  it('[H18] a session of one host is not offered to another at the same address', async () => {
    await witness(
      standard,
      async () => {
        for (const name of [ONE, ONE, TWO, TWO, ONE]) {
          const answer = await ask(standard.lab, 'connect', `${name}:${canary.port}`)
          expect(answer.status).toBe(200)
        }
      },
      { decided: 5 },
    )
    expect(Object.fromEntries(reused)).toEqual({ [ONE]: [false, true, true], [TWO]: [false, true] })
  })

  it('[H18] a session does not outlive a certificate that is refused', async () => {
    const authority = `${ONE}:${canary.port}`
    expect((await ask(standard.lab, 'connect', authority)).status).toBe(200)
    const received = canary.received(ONE)
    canary.secured(ONE, { ...standard.root.issue(TWO), maxVersion })
    expect((await ask(standard.lab, 'connect', authority)).status).toBe(502)
    expect(canary.received(ONE)).toBe(received)
  })
})
