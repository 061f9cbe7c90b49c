// An origin that asks who is there: the proxy has no identity of its own to show, and its hello offers nothing that it does not mean.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseHello } from '../../src/core/hello.ts'
import { ask, type Standard, startStandard } from '../support/standard.ts'
import { CLOSING, startTlsCanary, type TlsCanary } from '../support/tls-canary.ts'
import { witness } from '../support/witness.ts'
import { reasonOf } from '../support/clients.ts'

const NAME = 'mutual.test'

let standard: Standard
let canary: TlsCanary
beforeAll(async () => {
  canary = await startTlsCanary()
  standard = await startStandard({
    more: `  - { id: mutual, allow: { hosts: [${NAME}], ports: [${canary.port}] } }`,
    names: { [NAME]: ['127.0.0.1'] },
  })
})
afterAll(async () => {
  await standard.close()
  await canary.close()
})

const get = (): ReturnType<typeof ask> => ask(standard.lab, 'connect', `${NAME}:${canary.port}`, { target: '/mine' })

it.each(['TLSv1.2', 'TLSv1.3'] as const)('[H19] asked for, %s: nothing is shown', async (maxVersion) => {
  const shown: unknown[] = []
  const options = { ...standard.root.issue(NAME), maxVersion, requestCert: true, rejectUnauthorized: false } as const
  canary.secured(NAME, options, (socket) => {
    shown.push(socket.getPeerCertificate())
    CLOSING(socket)
  })
  await witness(standard, async () => expect((await get()).status).toBe(200))
  expect(shown).toEqual([{}])
})

it.each([
  ['TLSv1.2', 'upstream_tls', /HANDSHAKE_FAILURE/],
  // There the handshake is over for us when the origin's alert comes.
  ['TLSv1.3', 'upstream_unreachable', /CERTIFICATE_REQUIRED/],
] as const)('[H19] demanded, %s: a 502 that says why, and no second try', async (maxVersion, reason, why) => {
  const before = canary.hellos(NAME).length
  canary.secured(NAME, {
    ...standard.root.issue(NAME),
    maxVersion,
    requestCert: true,
    rejectUnauthorized: true,
    ca: standard.root.pem,
  })
  const left = await witness(standard, async () => {
    const answer = await get()
    expect([answer.status, reasonOf(answer)]).toEqual([502, reason])
    expect((JSON.parse(answer.body) as { hint: string }).hint).toMatch(why)
  })
  expect(left.completed[0]).toMatchObject({ outcome: 'failed', status: 502, reason })
  expect(canary.hellos(NAME).length).toBe(before + 1)
})

it('[H19] our hello: the name that was judged, TLS 1.2 and 1.3, HTTP/1.1, no early data, no later authentication', async () => {
  canary.secured(NAME, standard.root.issue(NAME), CLOSING)
  await get()
  const hello = canary.hellos(NAME).at(-1) ?? Buffer.alloc(0)
  expect(parseHello(hello)).toEqual({
    kind: 'hello',
    sni: NAME,
    alpn: ['http/1.1'],
    ech: false,
    supportedVersions: [0x0304, 0x0303],
  })
  const EARLY_DATA = 42
  const POST_HANDSHAKE_AUTH = 49
  expect(extensionTypes(hello)).not.toContain(EARLY_DATA)
  expect(extensionTypes(hello)).not.toContain(POST_HANDSHAKE_AUTH)
})

/** Of a hello in one record. */
function extensionTypes(hello: Buffer): number[] {
  let at = 5 + 4 + 2 + 32
  at += 1 + hello.readUInt8(at)
  at += 2 + hello.readUInt16BE(at)
  at += 1 + hello.readUInt8(at)
  at += 2
  const types: number[] = []
  while (at < hello.length) {
    types.push(hello.readUInt16BE(at))
    at += 4 + hello.readUInt16BE(at + 2)
  }
  return types
}
