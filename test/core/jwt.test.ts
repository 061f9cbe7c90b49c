// Signed tokens taken apart: what is no token, and which claims prove a client until when.

import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type JwtExpectation,
  type JwtFault,
  JWT_ALGORITHMS,
  JWT_LEEWAY_SECONDS,
  judgeTime,
  readClaims,
  readJwt,
} from '../../src/core/jwt.ts'

const EXPECTED: JwtExpectation = {
  issuer: 'https://id.test',
  audience: ['mcp-egress', 'other'],
  claim: 'sub',
  algorithms: JWT_ALGORITHMS,
}
const HEADER = { alg: 'RS256', kid: 'k' }
const CLAIMS = { iss: 'https://id.test', aud: 'mcp-egress', sub: 'robot', exp: 2_000 }

const part = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const tokenOf = (header: unknown, claims: unknown = CLAIMS, mark = 'c2ln'): string =>
  `${part(header)}.${part(claims)}.${mark}`

function claimsOf(claims: unknown, expected: JwtExpectation = EXPECTED): unknown {
  const read = readJwt(tokenOf(HEADER, claims), expected)
  return read.kind === 'ok' ? readClaims(read.jwt, expected) : read
}

describe('a signed token', () => {
  it.each([
    ['RS256 with a key by name', HEADER, 'RS256', 'k'],
    ['ES256 without', { alg: 'ES256' }, 'ES256', null],
    ['of type JWT', { ...HEADER, typ: 'jwt' }, 'RS256', 'k'],
    ['an access token', { ...HEADER, typ: 'at+JWT' }, 'RS256', 'k'],
    ['with its own word for its keys, which is not looked at', { ...HEADER, jku: 'https://evil.test' }, 'RS256', 'k'],
  ])('is taken apart: %s', (_, header, algorithm, keyId) => {
    const token = tokenOf(header)
    const read = readJwt(token, EXPECTED)
    expect(read).toMatchObject({ kind: 'ok', jwt: { algorithm, keyId, signed: token.slice(0, -5) } })
    expect(read.kind === 'ok' && read.jwt.signature.toString()).toBe('sig')
  })

  it.each<[string, string, JwtFault]>([
    ['nothing', '', 'malformed'],
    ['two parts', 'YQ.YQ', 'malformed'],
    ['four parts', `${tokenOf(HEADER)}.YQ`, 'malformed'],
    ['an empty signature', tokenOf(HEADER, CLAIMS, ''), 'malformed'],
    ['a header that has padding', tokenOf(HEADER).replace('.', '=.'), 'malformed'],
    ['claims with bits to spare', `${part(HEADER)}.YR.YQ`, 'malformed'],
    ['padding', tokenOf(HEADER, CLAIMS, 'YQ=='), 'malformed'],
    ['bits to spare', tokenOf(HEADER, CLAIMS, 'YR'), 'malformed'],
    ['base64 of the other alphabet', tokenOf(HEADER, CLAIMS, '+/+/'), 'malformed'],
    ['a header that is no JSON', tokenOf('{'), 'malformed'],
    ['a header that is a list', tokenOf([HEADER]), 'malformed'],
    ['claims that are a text', tokenOf(HEADER, '"x"'), 'malformed'],
    ['a member twice', tokenOf('{"alg":"none","alg":"RS256"}'), 'malformed'],
    ['claims that say who twice', tokenOf(HEADER, '{"sub":"a","sub":"b"}'), 'malformed'],
    ['no algorithm', tokenOf({ kid: 'k' }), 'algorithm'],
    ['the algorithm none', tokenOf({ alg: 'none' }), 'algorithm'],
    ['none in another case', tokenOf({ alg: 'NoNe' }), 'algorithm'],
    ['a shared secret', tokenOf({ alg: 'HS256' }), 'algorithm'],
    ['an algorithm in another case', tokenOf({ alg: 'rs256' }), 'algorithm'],
    ['an algorithm that is a list', tokenOf({ alg: ['RS256'] }), 'algorithm'],
    ['an extension that must be understood', tokenOf({ ...HEADER, crit: ['b64'], b64: false }), 'malformed'],
    ['another type', tokenOf({ ...HEADER, typ: 'logout+jwt' }), 'malformed'],
    ['a type that is no text', tokenOf({ ...HEADER, typ: 1 }), 'malformed'],
    ['a key that is no text', tokenOf({ ...HEADER, kid: 1 }), 'malformed'],
  ])('is refused with %s', (_, token, fault) => {
    expect(readJwt(token, EXPECTED)).toEqual({ kind: 'refused', fault })
  })

  it('is refused with an algorithm that is not named', () => {
    const expected = { ...EXPECTED, algorithms: ['ES256'] as const }
    expect(readJwt(tokenOf(HEADER), expected)).toEqual({ kind: 'refused', fault: 'algorithm' })
  })

  it('whatever is sent is taken apart or refused, never thrown at', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(['ok', 'refused']).toContain(readJwt(text, EXPECTED).kind)
      }),
    )
  })
})

describe('claims', () => {
  it.each([
    ['the least there must be', CLAIMS, { name: 'robot', expires: 2_000, notBefore: 0, id: null }],
    ['an audience in a list', { ...CLAIMS, aud: ['x', 'other'] }, { name: 'robot' }],
    ['a beginning and a name of their own', { ...CLAIMS, nbf: 5.5, jti: 'j' }, { notBefore: 5.5, id: 'j' }],
  ])('hold: %s', (_, claims, expected) => {
    expect(claimsOf(claims)).toMatchObject({ kind: 'ok', claims: expected })
  })

  it('name the client by the claim that is asked for', () => {
    const expected = { ...EXPECTED, claim: 'azp' }
    expect(claimsOf({ ...CLAIMS, azp: 'mailer' }, expected)).toMatchObject({ claims: { name: 'mailer' } })
    expect(claimsOf(CLAIMS, expected)).toEqual({ kind: 'refused', fault: 'missing_claim' })
  })

  it.each<[string, Record<string, unknown>, JwtFault]>([
    ...['exp', 'iss', 'aud', 'sub'].map((name): [string, Record<string, unknown>, JwtFault] => [
      `without ${name}`,
      Object.fromEntries(Object.entries(CLAIMS).filter(([key]) => key !== name)),
      'missing_claim',
    ]),
    ['of another issuer', { ...CLAIMS, iss: 'https://id.test/' }, 'issuer'],
    ['of an issuer that is a list', { ...CLAIMS, iss: ['https://id.test'] }, 'issuer'],
    ['for others', { ...CLAIMS, aud: 'someone' }, 'audience'],
    ['for a list of others', { ...CLAIMS, aud: ['a', 'b'] }, 'audience'],
    ['for nobody', { ...CLAIMS, aud: [] }, 'audience'],
    ['for a list in a list', { ...CLAIMS, aud: [['mcp-egress']] }, 'audience'],
    ['with an end that is a text', { ...CLAIMS, exp: '2000' }, 'malformed'],
    ['with an end behind all time', { ...CLAIMS, exp: 1e300 }, 'malformed'],
    ['with an end before all time', { ...CLAIMS, exp: -1 }, 'malformed'],
    ['with a beginning that is null', { ...CLAIMS, nbf: null }, 'malformed'],
    ['with a name of their own that is a number', { ...CLAIMS, jti: 1 }, 'malformed'],
    ['with a subject that is empty', { ...CLAIMS, sub: '' }, 'malformed'],
    ['with a subject that is an object', { ...CLAIMS, sub: {} }, 'malformed'],
  ])('are refused %s', (_, claims, fault) => {
    expect(claimsOf(claims)).toEqual({ kind: 'refused', fault })
  })

  it('name nobody by a number', () => {
    const expected = { ...EXPECTED, claim: 'uid' }
    expect(claimsOf({ ...CLAIMS, uid: 7 }, expected)).toEqual({ kind: 'refused', fault: 'malformed' })
  })

  it.each<[string, number, JwtFault | null]>([
    ['within the leeway before', 1_000 - JWT_LEEWAY_SECONDS, null],
    ['too early', 1_000 - JWT_LEEWAY_SECONDS - 1, 'not_yet_valid'],
    ['in time', 1_500, null],
    ['within the leeway behind', 2_000 + JWT_LEEWAY_SECONDS - 1, null],
    ['too late', 2_000 + JWT_LEEWAY_SECONDS, 'expired'],
  ])('hold for their time: %s', (_, now, fault) => {
    expect(judgeTime({ name: 'a', id: null, notBefore: 1_000, expires: 2_000 }, now)).toBe(fault)
  })
})
