// A signed token proves its client as long as its time, its keys and its sender are the ones.

import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { readJwks, type VerificationKey } from '../../src/config/jwks.ts'
import { JWT_ALGORITHMS } from '../../src/core/jwt.ts'
import { JwtVerifier, SeenTokens } from '../../src/proxy/jwt-verifier.ts'
import { AUDIENCE, claims, ecPair, es256, ISSUER, jwkOf, type KeyPair, rs256, rsaPair } from '../support/jwt.ts'

const rsa = rsaPair()
const ec = ecPair()
const NOW = 1_000_000
const LEEWAY = 30

function keysOf(...pairs: readonly (readonly [KeyPair, string])[]): readonly VerificationKey[] {
  const read = readJwks(JSON.stringify({ keys: pairs.map(([pair, kid]) => jwkOf(pair, kid)) }))
  return read.kind === 'ok' ? read.keys : []
}

interface Bench {
  /** Seconds since the epoch. */
  now: number
  keys: readonly VerificationKey[]
  missed: number
  readonly seen: SeenTokens
  verify(token: string, source?: string | null): string
}

function bench(): Bench {
  const expected = { issuer: ISSUER, audience: [AUDIENCE], claim: 'sub', algorithms: JWT_ALGORITHMS }
  const own: Bench = {
    now: NOW,
    keys: keysOf([rsa, 'r'], [ec, 'e']),
    missed: 0,
    seen: new SeenTokens(),
    verify: (token, source = '192.0.2.1') => {
      const digest = createHash('sha256').update(token).digest('hex')
      const verified = verifier.verify(token, digest, source)
      return verified.kind === 'proven' ? verified.name : verified.fault
    },
  }
  const source = { keys: () => own.keys, missing: () => void (own.missed += 1) }
  const verifier = new JwtVerifier(expected, source, own.seen, () => own.now * 1_000)
  return own
}

const lasting = (more: object = {}): Record<string, unknown> => claims({ exp: NOW + 100, ...more })

describe('a proven token', () => {
  it('expires, known or not', () => {
    const own = bench()
    const token = rs256(rsa, lasting())
    expect(own.verify(token)).toBe('robot')
    own.now = NOW + 100 + LEEWAY - 1
    expect(own.verify(token)).toBe('robot')
    own.now += 1
    expect(own.verify(token)).toBe('expired')
    expect(own.verify(es256(ec, lasting()))).toBe('expired')
  })

  it('begins, known or not', () => {
    const own = bench()
    const token = rs256(rsa, lasting({ nbf: NOW + 50 }))
    expect(own.verify(token)).toBe('not_yet_valid')
    own.now = NOW + 50 - LEEWAY
    expect(own.verify(token)).toBe('robot')
  })

  it('proves nothing once its key is withdrawn', () => {
    const own = bench()
    const token = rs256(rsa, lasting())
    expect(own.verify(token)).toBe('robot')
    own.keys = keysOf([ec, 'e'])
    expect(own.verify(token)).toBe('unknown_key')
    own.keys = keysOf([rsaPair(), 'r'])
    expect(own.verify(token)).toBe('signature')
    own.keys = keysOf([rsa, 'r'])
    expect(own.verify(token)).toBe('robot')
  })

  it('is verified once: as long as the keys are the same, nobody looks into them again', () => {
    const own = bench()
    const keys = [...own.keys]
    own.keys = keys
    const token = rs256(rsa, lasting())
    expect(own.verify(token)).toBe('robot')
    keys.length = 0
    expect([own.verify(token), own.verify(rs256(rsa, lasting({ other: 1 })))]).toEqual(['robot', 'no_keys'])
  })
})

describe('keys', () => {
  it('that are missing are asked for, and the token is refused for now', () => {
    const own = bench()
    const token = rs256(rsa, lasting(), { kid: 'new' })
    expect([own.verify(token), own.missed]).toEqual(['unknown_key', 1])
    own.keys = keysOf([rsa, 'new'])
    expect([own.verify(token), own.missed]).toEqual(['robot', 1])
    own.keys = []
    expect([own.verify(token), own.missed]).toEqual(['no_keys', 2])
  })

  it('are not asked for by what is no token', () => {
    const own = bench()
    expect([own.verify('a.b.c'), own.missed]).toEqual(['malformed', 0])
  })
})

describe('a token with an identifier', () => {
  const marked = (jti: string, more: object = {}): string => es256(ec, lasting({ jti, ...more }))

  it.each([
    ['another address', '192.0.2.1', '192.0.2.2', 'replayed'],
    ['another family', '192.0.2.1', '2001:db8::1', 'replayed'],
    ['this machine, taken from elsewhere', '192.0.2.1', null, 'replayed'],
    ['elsewhere, taken from this machine', null, '192.0.2.1', 'replayed'],
    ['another loopback address', '127.0.0.1', '127.0.0.2', 'replayed'],
    ['the same address', '192.0.2.1', '192.0.2.1', 'robot'],
    ['the other family of this machine', '127.0.0.1', '::1', 'robot'],
    ['its Unix socket', '127.0.0.1', null, 'robot'],
  ])('belongs to who came first: then %s', (_, first, second, expected) => {
    const own = bench()
    const token = marked('j')
    expect([own.verify(token, first), own.verify(token, second)]).toEqual(['robot', expected])
    expect(own.verify(token, first)).toBe('robot')
  })

  it('is not taken from its client by a token that proves nothing', () => {
    const own = bench()
    expect(own.verify(es256(ecPair(), lasting({ jti: 'j' })), '192.0.2.66')).toBe('signature')
    expect(own.verify(marked('j', { nbf: NOW + 90 }), '192.0.2.66')).toBe('not_yet_valid')
    expect(own.verify(marked('j'), '192.0.2.1')).toBe('robot')
  })

  it('is forgotten when nothing can be proven with it any more', () => {
    const own = bench()
    expect(own.verify(marked('j'), '192.0.2.1')).toBe('robot')
    own.now = NOW + 100 + LEEWAY
    expect(own.verify(marked('j', { exp: NOW + 1_000 }), '192.0.2.2')).toBe('robot')
  })

  it('is one of a bounded number, of which the oldest goes first', () => {
    const seen = new SeenTokens()
    const about = { name: 'robot', expires: NOW + 100, notBefore: 0, id: null }
    for (let index = 0; index < 65_537; index += 1) seen.isWithSender(`j${index}`, '192.0.2.1', about, NOW)
    expect(seen.isWithSender('j1', '192.0.2.2', about, NOW)).toBe(false)
    expect(seen.isWithSender('j0', '192.0.2.2', about, NOW)).toBe(true)
  })

  it('without one is good from anywhere', () => {
    const own = bench()
    const token = es256(ec, lasting())
    expect([own.verify(token, '192.0.2.1'), own.verify(token, '192.0.2.2')]).toEqual(['robot', 'robot'])
  })
})
