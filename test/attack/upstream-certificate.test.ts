// Origins that can not prove who they are: no byte of the request reaches them, and the client reads why.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseServerName } from '../../src/core/address.ts'
import { openAuthority } from '../../src/tls/authority.ts'
import { mintLeaf } from '../../src/tls/leaf.ts'
import { exchangeOn, httpsVia, reasonOf } from '../support/clients.ts'
import { addressName, type Issued, issue, permittedSubtree, revocationPointers } from '../support/certificates.ts'
import { startOrigin } from '../support/origins.ts'
import { ask, type Standard, startStandard } from '../support/standard.ts'
import { CLOSING, serverFlight, startTlsCanary, type TlsCanary } from '../support/tls-canary.ts'
import { witness } from '../support/witness.ts'

const HOUR_MS = 3_600_000
const NAME = 'bank.test'
const ago = (hours: number): Date => new Date(Date.now() - hours * HOUR_MS)

let standard: Standard
let canary: TlsCanary
let folder: string
let root: Issued
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-upstream-'))
  root = issue({ commonName: 'trusted root', ca: true })
  writeFileSync(join(folder, 'root.pem'), root.pem)
  canary = await startTlsCanary()
  standard = await startStandard({
    more: `  - { id: bank, allow: { hosts: [${NAME}, 127.0.0.1], ports: [${canary.port}] } }`,
    names: { [NAME]: ['127.0.0.1'] },
    trust: [join(folder, 'root.pem'), 'certs/ca.pem'],
  })
})
afterAll(async () => {
  await standard.close()
  await canary.close()
  rmSync(folder, { recursive: true })
})

type Shown = { readonly key: string; readonly cert: string }
const names = [NAME]

/** A chain of that many intermediates. */
function chainOf(length: number): Shown {
  let issuer = root
  for (let made = 0; made < length; made++) issuer = issue({ ca: true, issuer })
  return issue({ names, issuer })
}

const UNPROVEN: [string, () => Shown, RegExp][] = [
  [
    '[H02] [C19] expired',
    () => issue({ names, issuer: root, notBefore: ago(48), notAfter: ago(1) }),
    /CERT_HAS_EXPIRED/,
  ],
  ['[H02] not valid yet', () => issue({ names, issuer: root, notBefore: ago(-1) }), /CERT_NOT_YET_VALID/],
  ['[H02] [C19] for another host', () => issue({ names: ['shop.test'], issuer: root }), /not in the cert's altnames/],
  ['[H02] with the name in the common name only', () => issue({ commonName: NAME, issuer: root }), /no subjectAltName/],
  [
    '[H02] with the name in the common name, beside an address',
    () => issue({ commonName: NAME, issuer: root, more: [addressName(127, 0, 0, 1)] }),
    /does not contain a DNS name/,
  ],
  [
    '[H02] with a NUL in the common name',
    () => issue({ commonName: `${NAME}\0.evil.test`, issuer: root }),
    /no subjectAlt/,
  ],
  ['[H02] with a NUL in the name', () => issue({ names: [`${NAME}\0.evil.test`], issuer: root }), /not in the cert's/],
  [
    '[H02] with wildcards over too much',
    () => issue({ names: ['*', '*.test', 'b*.test'], issuer: root }),
    /not in the/,
  ],
  ['[H02] [C19] self-signed', () => issue({ names }), /DEPTH_ZERO_SELF_SIGNED_CERT: no root of upstream.trust/],
  [
    '[H02] [C19] below a root that nobody trusts',
    () => issue({ names, issuer: issue({ ca: true }) }),
    /UNABLE_TO_VERIFY_LEAF_SIGNATURE: no root of upstream.trust/,
  ],
  ['[H02] below another root of the same name', () => issue({ names, issuer: namesake() }), /CERT_SIGNATURE_FAILURE/],
  ['[H02] signed by an end entity', () => issue({ names, issuer: issue({ names, issuer: root }) }), /INVALID_PURPOSE/],
  ['[H02] for clients only', () => issue({ names, issuer: root, purpose: 'clientAuth' }), /INVALID_PURPOSE/],
  ['[H02] outside of what its issuer may sign', () => issue({ names, issuer: constrained() }), /permitted subtree/],
  ['[H02] signed with SHA-1', () => issue({ names, issuer: root, hash: 'sha1' }), /digest algorithm too weak/],
  [
    '[H02] below an intermediate signed with SHA-1',
    () => issue({ names, issuer: weak() }),
    /digest algorithm too weak/,
  ],
  [
    '[H02] with an RSA key of 1024 bits',
    () => issue({ names, issuer: root, rsaBits: 1024 }),
    /EE certificate key too weak/,
  ],
  ['[H02] below 200 intermediates', () => chainOf(200), /UNABLE_TO_GET_ISSUER_CERT|CHAIN_TOO_LONG/],
  ['[H02] below 1,000 intermediates', () => chainOf(1_000), /EXCESSIVE_MESSAGE_SIZE/],
  ['[H04] signed by our own CA, though upstream.trust names it', ownLeaf, /UNABLE_TO_VERIFY/],
]

const PROVEN: [string, () => Shown][] = [
  ['a certificate below the root', () => issue({ names, issuer: root })],
  ['one of an RSA key of 2048 bits', () => issue({ names, issuer: root, rsaBits: 2048 })],
  ['one below three intermediates', () => chainOf(3)],
  ['one with a wildcard for the first label', () => issue({ names: [`*.${NAME}`, NAME], issuer: root })],
]

const namesake = (): Issued => issue({ commonName: 'trusted root', ca: true })
const weak = (): Issued => issue({ ca: true, issuer: root, hash: 'sha1' })
const constrained = (): Issued => issue({ ca: true, issuer: root, more: [permittedSubtree('other.test')] })

/** What a thief of the CA key, or a loop back to the proxy, would show. */
function ownLeaf(): Shown {
  const authority = openAuthority(join(standard.lab.folder, 'certs'), new Date())
  const key = issue({ names })
  const host = parseServerName(NAME)
  if (host === null) throw new Error(NAME)
  return { key: key.key, cert: mintLeaf(authority, key.privateKey, host, new Date()).certificatePem }
}

/** Weak keys and hashes are the client's to refuse, so the origin offers them all. */
const SHOW_ANYTHING = { ciphers: 'DEFAULT:@SECLEVEL=0' } as const

const transfer = (authority: string): ReturnType<typeof ask> =>
  ask(standard.lab, 'connect', authority, {
    method: 'POST',
    target: '/transfer',
    headers: 'Content-Length: 6\r\n',
    body: 'secret',
  })

it.each(UNPROVEN)('%s', async (_name, shown, why) => {
  canary.secured(NAME, { ...shown(), ...SHOW_ANYTHING })
  const left = await witness(standard, async () => {
    const answer = await transfer(`${NAME}:${canary.port}`)
    expect([answer.status, reasonOf(answer)]).toEqual([502, 'upstream_tls'])
    expect((JSON.parse(answer.body) as { hint: string }).hint).toMatch(why)
    expect(answer.headers.get('proxy-status')).toContain('error=tls_certificate_error')
  })
  expect(left.decided[0]).toMatchObject({ decision: 'allow', rule: 'bank', host: NAME })
  expect(left.completed[0]).toMatchObject({ outcome: 'failed', reason: 'upstream_tls', status: 502, bytes_sent: 0 })
  expect(canary.received(NAME)).toBe('')
})

it('[H02] an address that stands in a dNSName is not the address', async () => {
  canary.secured('', issue({ names: ['127.0.0.1'], issuer: root }))
  const { lab } = standard
  const left = await witness(standard, async () => {
    const socket = await httpsVia(lab, `127.0.0.1:${canary.port}`, { servername: '', address: '127.0.0.1' })
    const answer = await exchangeOn(socket, `GET /secret HTTP/1.1\r\nHost: 127.0.0.1:${canary.port}\r\n\r\n`)
    socket.destroy()
    expect([answer.status, reasonOf(answer)]).toEqual([502, 'upstream_tls'])
  })
  expect(left.completed[0]).toMatchObject({ outcome: 'failed', reason: 'upstream_tls' })
  expect(canary.received('')).toBe('')
})

it('[H02] bytes that are no certificate', async () => {
  canary.on(NAME, (raw) => {
    raw.resume()
    raw.write(serverFlight(Buffer.alloc(300, 0x30)))
  })
  const left = await witness(standard, async () => {
    const answer = await transfer(`${NAME}:${canary.port}`)
    expect([answer.status, reasonOf(answer)]).toEqual([502, 'upstream_tls'])
  })
  expect(left.completed[0]).toMatchObject({ outcome: 'failed', reason: 'upstream_tls', bytes_sent: 0 })
})

it('[H02] a very long list of names is not repeated to the client', async () => {
  const many = Array.from({ length: 1_000 }, (_value, index) => `host-${index}.shop.test`)
  canary.secured(NAME, issue({ names: many, issuer: root }))
  await witness(standard, async () => {
    const answer = await transfer(`${NAME}:${canary.port}`)
    expect(answer.status).toBe(502)
    expect(answer.body.length).toBeLessThan(2_000)
  })
})

it('[H02] a wrong certificate is wrong again on the second try: no session skips the check of the name', async () => {
  canary.secured(NAME, { ...issue({ names: ['shop.test'], issuer: root }), maxVersion: 'TLSv1.2' })
  await witness(
    standard,
    async () => {
      for (let tried = 0; tried < 3; tried++) expect((await transfer(`${NAME}:${canary.port}`)).status).toBe(502)
    },
    { decided: 3 },
  )
  expect(canary.received(NAME)).toBe('')
})

it('[H20] [C19] nobody is asked whether a certificate was revoked: that would be traffic without a record', async () => {
  const authority = await startOrigin(standard.root, 'revocation.test', undefined, { tls: false })
  const pointers = revocationPointers(`http://127.0.0.1:${authority.port}/revoked`)
  canary.secured(NAME, issue({ names, issuer: root, more: pointers }), CLOSING)
  await witness(standard, async () => expect((await transfer(`${NAME}:${canary.port}`)).status).toBe(200))
  expect(authority.connections()).toBe(0)
  await authority.close()
})

it.each(PROVEN)('but %s is believed', async (_name, shown) => {
  canary.secured(NAME, shown(), CLOSING)
  const left = await witness(standard, async () => {
    expect((await transfer(`${NAME}:${canary.port}`)).status).toBe(200)
  })
  expect(left.completed[0]).toMatchObject({ outcome: 'completed', bytes_sent: 6 })
})
