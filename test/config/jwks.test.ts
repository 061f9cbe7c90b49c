// Of a set of keys, those that can verify a signature of ours, and none that a token could choose wrongly.

import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keyFor, readJwks } from '../../src/config/jwks.ts'
import { loadConfig } from '../../src/config/load.ts'

const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const weak = generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey
const jwk = (key: KeyObject, more: object = {}): object => ({ ...key.export({ format: 'jwk' }), ...more })
const RSA = jwk(rsa.publicKey, { kid: 'r', use: 'sig', alg: 'RS256' })
const EC = jwk(ec.publicKey, { kid: 'e', key_ops: ['verify'] })
const set = (...keys: unknown[]): string => JSON.stringify({ keys })

describe('a set of keys', () => {
  it('has those that verify', () => {
    const read = readJwks(set(RSA, EC, jwk(rsa.publicKey)))
    expect(read.kind === 'ok' && read.keys.map(({ id, algorithm }) => [id, algorithm])).toEqual([
      ['r', 'RS256'],
      ['e', 'ES256'],
      [null, 'RS256'],
    ])
  })

  it.each([
    ['a shared secret', { kty: 'oct', k: 'c2VjcmV0', alg: 'HS256' }],
    ['a key for encryption', { ...RSA, use: 'enc' }],
    ['a key that signs only', { ...RSA, key_ops: ['sign'] }],
    ['uses that are no list', { ...RSA, key_ops: 'verify' }],
    ['a key of another algorithm', { ...RSA, alg: 'RS512' }],
    ['an EC key that says to be of RSA', { ...EC, alg: 'RS256' }],
    ['a key of another curve', jwk(p384)],
    ['a short RSA key', jwk(weak)],
    ['a private key', jwk(rsa.privateKey)],
    ['a private key of a curve', jwk(ec.privateKey)],
    ['numbers in place of a key', { ...RSA, n: 7 }],
    ['a point off the curve', { ...EC, x: 'AAAA' }],
    ['nothing', null],
    ['a text', 'RSA'],
  ])('leaves out %s', (_, key) => {
    const read = readJwks(set(RSA, key))
    expect(read.kind === 'ok' && read.keys.map(({ id }) => id)).toEqual(['r'])
    expect(readJwks(set(key))).toMatchObject({ kind: 'bad', why: /no RSA key/ })
  })

  it.each([
    ['no JSON', '{', /not a JSON object/],
    ['a list', '[]', /not a JSON object/],
    ['no keys', '{}', /not a JSON object/],
    ['keys that are no list', '{"keys":{}}', /not a JSON object/],
    ['null', 'null', /not a JSON object/],
    ['an empty list', set(), /no RSA key/],
    ['too many', set(...Array.from({ length: 65 }, () => RSA)), /more than 64/],
    ['two keys of one name', set(RSA, { ...jwk(rsa.publicKey), kid: 'r' }), /two of its keys are called "r"/],
  ])('is refused with %s', (_, text, why) => {
    expect(readJwks(text)).toMatchObject({ kind: 'bad', why: expect.stringMatching(why) })
  })

  it('may call keys of two algorithms the same', () => {
    expect(readJwks(set(RSA, { ...EC, kid: 'r' })).kind).toBe('ok')
  })

  it('is read or refused, whatever it is', () => {
    const any = fc.oneof(
      fc.string(),
      fc.jsonValue().map((value) => set(value, value)),
    )
    fc.assert(
      fc.property(any, (text) => {
        expect(['ok', 'bad']).toContain(readJwks(text).kind)
      }),
    )
  })
})

describe('the key of a token', () => {
  const read = readJwks(set(RSA, EC, { ...RSA, kid: 'r2' }))
  const keys = read.kind === 'ok' ? read.keys : []

  it.each([
    ['by its name', 'RS256', 'r', true],
    ['by its algorithm, where there is one', 'ES256', null, true],
    ['not by its algorithm, where there are two', 'RS256', null, false],
    ['not by a name that nobody has', 'RS256', 'x', false],
    ['not by the name of a key of another algorithm', 'ES256', 'r', false],
    ['not by a path', 'RS256', '../../dev/null', false],
    ['not by another case', 'RS256', 'R', false],
  ] as const)('is found %s', (_, algorithm, keyId, isFound) => {
    expect(keyFor(keys, { algorithm, keyId }) !== null).toBe(isFound)
  })
})

describe('identity.jwt', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'mcp-egress-jwks-'))
    writeFileSync(join(folder, 'keys.json'), set(RSA))
    writeFileSync(join(folder, 'none.json'), set())
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const load = (jwt: string, clients = '[{ name: robot }]'): ReturnType<typeof loadConfig> => {
    const file = join(folder, 'mcp-egress.yaml')
    writeFileSync(file, `version: 1\nclients: ${clients}\nidentity:\n  jwt: { issuer: i, audience: a, ${jwt} }\n`)
    return loadConfig(file, { TOKEN: 'a-token-of-enough-characters' })
  }

  it('has its keys from a file, which is looked at for changes', () => {
    const loaded = load('jwks: keys.json')
    expect(loaded.ok && loaded.config.files).toContain(join(folder, 'keys.json'))
    expect(loaded.ok && loaded.config.jwt).toMatchObject({ claim: 'sub', algorithms: ['RS256', 'ES256'] })
    expect(loaded.ok && loaded.config.clients).toEqual([{ name: 'robot', claimed: true }])
  })

  it('or from a URL', () => {
    const loaded = load('jwks: "https://id.example.com/keys", claim: azp, algorithms: [ES256]')
    const jwt = loaded.ok ? loaded.config.jwt : null
    expect(jwt).toMatchObject({ claim: 'azp', algorithms: ['ES256'] })
    expect(jwt?.keys).toEqual(new URL('https://id.example.com/keys'))
  })

  it.each<[string, string, string | undefined, string, RegExp]>([
    ['a file that is not there', 'jwks: gone.json', undefined, 'identity.jwt.jwks', /can not be read/],
    ['a file without keys', 'jwks: none.json', undefined, 'identity.jwt.jwks', /no RSA key/],
    ['a URL without TLS', 'jwks: "http://id.test/k"', undefined, 'identity.jwt.jwks', /no https URL/],
    ['another scheme', 'jwks: "file:///etc/keys"', undefined, 'identity.jwt.jwks', /no https URL/],
    ['a password', 'jwks: "https://u:p@id.test/k"', undefined, 'identity.jwt.jwks', /no https URL/],
    [
      'an algorithm of shared secrets',
      'jwks: keys.json, algorithms: [HS256]',
      undefined,
      'identity.jwt.algorithms[0]',
      /./,
    ],
    ['nobody to name', 'jwks: keys.json', '[{ name: a, token: "${TOKEN}" }]', 'identity.jwt', /no client is left/],
  ])('is refused with %s', (_, jwt, clients, at, message) => {
    const loaded = load(jwt, clients)
    expect(loaded.ok ? [] : loaded.problems).toMatchObject([{ at, message: expect.stringMatching(message) }])
  })

  it('is refused as an empty section', () => {
    const file = join(folder, 'empty.yaml')
    writeFileSync(file, 'version: 1\nidentity: {}\n')
    const loaded = loadConfig(file, {})
    expect(loaded.ok ? [] : loaded.problems).toMatchObject([{ at: 'identity', message: 'nothing proves anybody' }])
  })
})
