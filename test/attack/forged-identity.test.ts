// Tokens that nobody issued, that are for somebody else, out of time or taken from another client: 407, recorded without their value.

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connectVia, exchangeOn, type HttpAnswer, opened, reasonOf } from '../support/clients.ts'
import { AUDIENCE, claims, ecPair, es256, hs256, ISSUER, jwkOf, rs256, rsaPair, unsigned } from '../support/jwt.ts'
import { createTestRoot, type Origin, startOrigin, type TestRoot } from '../support/origins.ts'
import { ALLOWED, type Standard, startStandard } from '../support/standard.ts'
import { witness } from '../support/witness.ts'

const GUARDED = 'guarded.test'
const LISTED = 'a-token-of-the-token-file'
const rsa = rsaPair()
const ec = ecPair()
const stranger = rsaPair()
const weakKey = ecPair()

let standard: Standard
let plainRoot: TestRoot
/** Speaks without TLS. */
let plain: Origin
let folder: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-forged-'))
  writeFileSync(join(folder, 'keys.json'), JSON.stringify({ keys: [jwkOf(rsa, 'r'), jwkOf(ec, 'e')] }))
  writeFileSync(join(folder, 'tokens'), `listed:${LISTED}\n`, { mode: 0o600 })
  plainRoot = createTestRoot()
  plain = await startOrigin(plainRoot, GUARDED, undefined, { tls: false })
  standard = await startStandard({
    clients: '  - { name: robot }\n  - { name: located, source: [127.0.0.9] }',
    extra: `identity:
  tokens: ${join(folder, 'tokens')}
  jwt: { issuer: "${ISSUER}", audience: ${AUDIENCE}, jwks: ${join(folder, 'keys.json')} }`,
    more: `  - { id: guarded, clients: [robot, listed], allow: { hosts: [${GUARDED}], ports: [${plain.port}], schemes: [http, https] } }
  - { id: open, allow: { hosts: [${ALLOWED}], ports: [${plain.port}], schemes: [http] } }`,
    names: { [GUARDED]: ['127.0.0.1'] },
  })
})
afterAll(async () => {
  await standard.close()
  await plain.close()
  plainRoot.close()
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(() => {
  plain.seen.length = 0
})

async function ask(credentials: string, host = GUARDED, from = '127.0.0.1'): Promise<HttpAnswer> {
  const authority = `${host}:${plain.port}`
  const socket = await opened(connect({ host: '127.0.0.1', port: standard.lab.proxyPort, localAddress: from }))
  const fields = `Host: ${authority}\r\nProxy-Authorization: ${credentials}\r\n`
  const answer = await exchangeOn(socket, `GET http://${authority}/who HTTP/1.1\r\n${fields}\r\n`)
  socket.destroy()
  return answer
}

const basic = (name: string, token: string): string => `Basic ${Buffer.from(`${name}:${token}`).toString('base64')}`
const past = Math.floor(Date.now() / 1_000) - 3_600
const future = Math.floor(Date.now() / 1_000) + 3_600
/** Another last character of the signature, or of what it is over. */
const changed = (token: string, place: number): string => {
  const parts = token.split('.')
  const text = parts[place] ?? ''
  parts[place] = `${text.slice(0, 8)}${text[8] === 'A' ? 'B' : 'A'}${text.slice(9)}`
  return parts.join('.')
}

describe('a signed token that holds', () => {
  it.each([
    ['RS256', `Bearer ${rs256(rsa, claims())}`],
    ['ES256', `Bearer ${es256(ec, claims())}`],
    ['for a list of audiences', `Bearer ${rs256(rsa, claims({ aud: ['x', AUDIENCE] }))}`],
    ['in Basic, as proxy URLs carry it', basic('robot', rs256(rsa, claims()))],
  ])('names its client: %s', async (_, credentials) => {
    const left = await witness(standard, async () => expect((await ask(credentials)).status).toBe(200))
    expect(left.decided[0]).toMatchObject({ client: { name: 'robot' }, rule: 'guarded' })
    expect(plain.seen.map(({ url }) => url)).toEqual(['/who'])
  })
})

const FORGED: [name: string, token: string, flag: string | null][] = [
  ['the algorithm none', unsigned(claims()), 'jwt_algorithm'],
  ['none, with a signature', unsigned(claims(), 'None', 'c2ln'), 'jwt_algorithm'],
  ['no signature', unsigned(claims(), 'RS256'), 'jwt_malformed'],
  [
    'the public key as a shared secret',
    hs256(rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString(), claims()),
    'jwt_algorithm',
  ],
  [
    'the same, said to be RS256',
    hs256(rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString(), claims(), { alg: 'RS256' }),
    'jwt_signature',
  ],
  ['the key of somebody else', rs256(stranger, claims()), 'jwt_signature'],
  ['a key that it brings along', rs256(stranger, claims(), { jwk: jwkOf(stranger, 'r') }), 'jwt_signature'],
  ['a place of its keys', rs256(stranger, claims(), { jku: 'https://evil.test/keys' }), 'jwt_signature'],
  ['a curve key of somebody else', es256(weakKey, claims()), 'jwt_signature'],
  ['a signature in DER', es256(ec, claims(), 'der'), 'jwt_signature'],
  ['a key of another algorithm', rs256(rsa, claims(), { kid: 'e' }), 'jwt_unknown_key'],
  ['a key by a path', rs256(rsa, claims(), { kid: '../../../dev/null' }), 'jwt_unknown_key'],
  ['a key by a query', rs256(rsa, claims(), { kid: "r' OR '1'='1" }), 'jwt_unknown_key'],
  ['a key in another case', rs256(rsa, claims(), { kid: 'R' }), 'jwt_unknown_key'],
  ['a changed signature', changed(rs256(rsa, claims()), 2), 'jwt_signature'],
  ['an extension that must be understood', rs256(rsa, claims(), { crit: ['exp'], exp: 1 }), 'jwt_malformed'],
  ['an end in the past', rs256(rsa, claims({ exp: past })), 'jwt_expired'],
  ['no end', rs256(rsa, claims({ exp: undefined })), 'jwt_missing_claim'],
  ['an end that is a text', rs256(rsa, claims({ exp: String(future) })), 'jwt_malformed'],
  ['a beginning in the future', rs256(rsa, claims({ nbf: future, exp: future + 1 })), 'jwt_not_yet_valid'],
  ['another audience', rs256(rsa, claims({ aud: 'mail' })), 'jwt_audience'],
  ['a list of other audiences', rs256(rsa, claims({ aud: ['mail', `${AUDIENCE}2`] })), 'jwt_audience'],
  ['another issuer', rs256(rsa, claims({ iss: 'https://id.test' })), 'jwt_issuer'],
  ['no subject', rs256(rsa, claims({ sub: undefined })), 'jwt_missing_claim'],
  ['the name of a client known by its address', rs256(rsa, claims({ sub: 'located' })), 'jwt_client'],
  ['the name of a client of the token file', rs256(rsa, claims({ sub: 'listed' })), 'jwt_client'],
  ['the name of everybody', rs256(rsa, claims({ sub: 'anonymous' })), 'jwt_client'],
  ['a name in another case', rs256(rsa, claims({ sub: 'Robot' })), 'jwt_client'],
  ['more than anybody needs', rs256(rsa, claims({ padding: 'x'.repeat(9_000) })), null],
]

describe('a token with', () => {
  it.each(FORGED)('%s is refused, also where everybody may go', async (_, token, flag) => {
    const left = await witness(standard, async () => {
      const answer = await ask(`Bearer ${token}`, ALLOWED, '127.0.0.9')
      expect([answer.status, reasonOf(answer)]).toEqual([407, 'proxy_auth'])
      expect(JSON.stringify(answer)).not.toContain(token.split('.')[1])
    })
    expect(left.decided[0]).toMatchObject({
      decision: 'deny',
      reason: 'proxy_auth',
      client: { name: 'anonymous' },
      security_flags: flag === null ? [] : [flag],
    })
    const trail = JSON.stringify(standard.lab.records())
    for (const part of token.split('.').filter((text) => text.length > 8)) expect(trail).not.toContain(part)
    expect(plain.seen.map(({ url }) => url)).toEqual([])
  })

  it.each(FORGED)('%s is refused on a CONNECT', async (_, token, flag) => {
    const left = await witness(standard, async () => {
      const authority = `${GUARDED}:${plain.port}`
      const { refused } = await connectVia(standard.lab, authority, `Proxy-Authorization: Bearer ${token}\r\n`)
      expect(refused?.status).toBe(407)
    })
    expect(left.decided[0]).toMatchObject({ reason: 'proxy_auth', security_flags: flag === null ? [] : [flag] })
  })
})

describe('a token taken from its client', () => {
  it('is refused from another address, and stays good where it was first', async () => {
    const token = `Bearer ${rs256(rsa, claims({ jti: 'stolen' }))}`
    const left = await witness(
      standard,
      async () => {
        expect((await ask(token)).status).toBe(200)
        const answer = await ask(token, GUARDED, '127.0.0.2')
        expect([answer.status, reasonOf(answer)]).toEqual([407, 'proxy_auth'])
        expect((await ask(token)).status).toBe(200)
      },
      { decided: 3 },
    )
    expect(left.decided.map(({ security_flags: flags }) => flags)).toEqual([[], ['jwt_replayed'], []])
  })

  it('is refused also signed anew, and after a reload', async () => {
    const tokens = [1, 2].map(() => `Bearer ${es256(ec, claims({ jti: 'again' }))}`)
    expect((await ask(tokens[0] ?? '')).status).toBe(200)
    expect((await ask(tokens[1] ?? '', GUARDED, '127.0.0.2')).status).toBe(407)
    standard.lab.reload({})
    expect((await ask(tokens[1] ?? '', GUARDED, '127.0.0.2')).status).toBe(407)
    expect((await ask(tokens[1] ?? '')).status).toBe(200)
  })
})

describe('a token of the token file', () => {
  it.each([
    ['the token', `Bearer ${LISTED}`, 200],
    ['the name and the token', basic('listed', LISTED), 200],
    ['the token in another case', `Bearer ${LISTED.toUpperCase()}`, 407],
    ['the token of another name', basic('robot', LISTED), 407],
    ['the name alone', basic('listed', ''), 407],
    ['a line of the file', `Bearer listed:${LISTED}`, 407],
    ['a part of the token', `Bearer ${LISTED.slice(0, -1)}`, 407],
  ])('is proven by nothing but itself: %s', async (_, credentials, status) => {
    expect((await ask(credentials)).status).toBe(status)
    expect(JSON.stringify(standard.lab.records())).not.toContain(LISTED)
  })

  it('that is gone is nobody’s: the next request and the open tunnel hear it', async () => {
    const { lab } = standard
    const authority = `${GUARDED}:${plain.port}`
    const { socket, refused } = await connectVia(lab, authority, `Proxy-Authorization: Bearer ${LISTED}\r\n`)
    expect(refused).toBeNull()
    const closed = new Promise((done) => socket.once('close', done))
    writeFileSync(join(folder, 'tokens'), 'listed:another-token-of-the-file\n', { mode: 0o600 })
    lab.reload({})
    await closed
    expect((await ask(`Bearer ${LISTED}`)).status).toBe(407)
    expect((await ask('Bearer another-token-of-the-file')).status).toBe(200)
  })

  it('that others may read changes nothing in force', async () => {
    chmodSync(join(folder, 'tokens'), 0o644)
    expect(() => standard.lab.reload({})).toThrow('chmod 600')
    chmodSync(join(folder, 'tokens'), 0o600)
    expect((await ask('Bearer another-token-of-the-file')).status).toBe(200)
  })
})
