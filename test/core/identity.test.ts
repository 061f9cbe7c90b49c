import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { clientProblems, compileIdentity, identify, type TokenVerifier, tokenClients } from '../../src/core/identity.ts'
import type { ClientSpec } from '../../src/core/rule.ts'

const identity = compileIdentity([
  { name: 'host', source: ['172.30.0.5', '2001:db8::5'] },
  { name: 'net', source: ['172.30.0.0/16', 'fd00::/8'] },
  { name: 'github', token: 'gh-secret' },
  { name: 'mail', token: 'mail:secret' },
])
const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`

describe('who asks', () => {
  it.each([
    ['an address of its own', '172.30.0.5', 'host', 'source'],
    ['an IPv6 address of its own', '2001:db8::5', 'host', 'source'],
    ['a mapped address, as a dual-stack socket gives it', '::ffff:172.30.0.5', 'host', 'source'],
    ['an address in a network', '172.30.0.6', 'net', 'source'],
    ['an address with a zone', 'fd00::1%eth0', 'net', 'source'],
    ['an address of nobody', '10.0.0.1', 'anonymous', 'anonymous'],
    ['no address', null, 'anonymous', 'anonymous'],
  ])('by source: %s', (_, source, name, by) => {
    expect(identify(identity, { source, credentials: null })).toEqual({ kind: 'client', name, by })
  })

  it('is the same however often and in whatever order it is asked, and what is remembered has a bound', () => {
    const fresh = compileIdentity([{ name: 'net', source: ['10.0.0.0/16'] }])
    for (let low = 0; low < 1100; low += 1) {
      const source = `10.${low % 3}.${low >> 8}.${low & 255}`
      for (const round of [1, 2]) {
        const found = identify(fresh, { source, credentials: null })
        expect([round, source, found.kind === 'client' && found.name]).toEqual([
          round,
          source,
          low % 3 === 0 ? 'net' : 'anonymous',
        ])
        expect(fresh.remembered.size).toBeLessThanOrEqual(1024)
      }
    }
  })

  it('by source: anonymous where no client has one', () => {
    const found = identify(compileIdentity([]), { source: '10.0.0.1', credentials: null })
    expect(found).toEqual({ kind: 'client', name: 'anonymous', by: 'anonymous' })
  })

  it.each([
    ['Basic name and token', basic('github:gh-secret'), 'github'],
    ['a scheme in any case', basic('github:gh-secret').replace('Basic', 'bAsIC'), 'github'],
    ['a token with a colon', basic('mail:mail:secret'), 'mail'],
    ['Bearer', 'Bearer gh-secret', 'github'],
    ['a Bearer in any case, with blanks', 'BEARER   gh-secret ', 'github'],
  ])('by credentials, before the source: %s', (_, credentials, name) => {
    const found = identify(identity, { source: '172.30.0.5', credentials })
    expect(found).toEqual({ kind: 'client', name, by: 'token' })
  })

  it.each([
    ['nothing', ''],
    ['a scheme alone', 'Basic'],
    ['a scheme and a blank', 'Bearer '],
    ['another scheme', 'Digest username="github"'],
    ['no scheme', 'gh-secret'],
    ['a wrong token', basic('github:wrong')],
    ['the token of another client', basic('github:mail:secret')],
    ['a name without a token', basic('github:')],
    ['a client known by source', basic('host:')],
    ['an unknown name', basic('nobody:gh-secret')],
    ['no name', basic(':gh-secret')],
    ['no colon', basic('gh-secret')],
    ['no base64', 'Basic github:gh-secret'],
    ['base64url', 'Basic Z2l0aHViOmdoLXNlY3JldA-_'],
    ['a second pair', `${basic('github:gh-secret')}, ${basic('github:gh-secret')}`],
    ['a wrong Bearer', 'Bearer gh-secre'],
    ['a Bearer in another case', 'Bearer GH-SECRET'],
    ['more than anybody sends', `Bearer ${'x'.repeat(9000)}`],
    ['a signed token, where none is taken', 'Bearer a.b.c'],
  ])('wrong credentials never fall back to the source: %s', (_, credentials) => {
    expect(identify(identity, { source: '172.30.0.5', credentials })).toEqual({ kind: 'invalid' })
  })

  it('takes the longest prefix whatever the order', () => {
    const clients: readonly ClientSpec[] = [
      { name: 'all', source: ['0.0.0.0/0'] },
      { name: 'one', source: ['10.1.2.3'] },
      { name: 'some', source: ['10.0.0.0/8'] },
    ]
    for (const list of [clients, clients.toReversed()]) {
      const names = ['10.1.2.3', '10.9.9.9', '11.0.0.1'].map((source) =>
        identify(compileIdentity(list), { source, credentials: null }),
      )
      expect(names).toMatchObject([{ name: 'one' }, { name: 'some' }, { name: 'all' }])
    }
  })

  it('names the clients that a 407 can help', () => {
    expect(tokenClients(identity)).toEqual(['github', 'mail'])
    expect(tokenClients(signing)).toEqual(['github', 'hashed', 'robot'])
  })
})

/** SHA-256 of `hashed-secret`. */
const DIGEST = createHash('sha256').update('hashed-secret').digest('hex')
/** Takes `name.of.source` for a token that proves `name`, from that source alone. */
const verifier: TokenVerifier = {
  verify: (token, digest, source) => {
    expect(digest).toBe(createHash('sha256').update(token).digest('hex'))
    const [name = '', , from] = token.split('.')
    return from === String(source) ? { kind: 'proven', name } : { kind: 'refused', fault: 'replayed' }
  },
}
const signing = {
  ...compileIdentity([
    { name: 'github', token: 'gh.sec.ret' },
    { name: 'hashed', tokenDigest: DIGEST },
    { name: 'robot', claimed: true },
    { name: 'host', source: ['10.0.0.1'] },
  ]),
  verifier,
}

describe('a token of which only the digest is known', () => {
  it.each([
    ['Basic', basic('hashed:hashed-secret'), 'hashed'],
    ['Bearer', 'Bearer hashed-secret', 'hashed'],
  ])('proves its client: %s', (_, credentials, name) => {
    expect(identify(signing, { source: null, credentials })).toEqual({ kind: 'client', name, by: 'token' })
  })

  it.each([
    ['the digest in its place', `Bearer ${DIGEST}`],
    ['the digest with its name', basic(`hashed:${DIGEST}`)],
    ['the line of the file', basic(`hashed:sha256:${DIGEST}`)],
  ])('is not proven by %s', (_, credentials) => {
    expect(identify(signing, { source: null, credentials })).toEqual({ kind: 'invalid' })
  })
})

describe('a signed token', () => {
  it.each([
    ['Bearer', 'Bearer robot.of.null'],
    ['Basic, with its own name', basic('robot:robot.of.null')],
  ])('names a client that is left to it: %s', (_, credentials) => {
    expect(identify(signing, { source: null, credentials })).toEqual({ kind: 'client', name: 'robot', by: 'token' })
  })

  it('is asked about after the tokens that are known', () => {
    const found = identify(signing, { source: null, credentials: 'Bearer gh.sec.ret' })
    expect(found).toEqual({ kind: 'client', name: 'github', by: 'token' })
  })

  it.each([
    ['what verifies it refuses it', 'Bearer robot.of.elsewhere', 'jwt_replayed'],
    ['it names a client of a token', 'Bearer github.of.10.0.0.1', undefined],
    ['it names a client of a digest', 'Bearer hashed.of.null', 'jwt_client'],
    ['it names a client of an address', 'Bearer host.of.null', 'jwt_client'],
    ['it names nobody', 'Bearer nobody.of.null', 'jwt_client'],
    ['it names everybody', 'Bearer anonymous.of.null', 'jwt_client'],
    ['another name stands beside it', basic('host:robot.of.null'), 'jwt_client'],
    ['no name stands beside it', basic(':robot.of.null'), 'jwt_client'],
    ['a name with a token of its own stands beside it', basic('github:robot.of.null'), undefined],
    ['it has two parts', 'Bearer robot.of', undefined],
    ['it has four', 'Bearer robot.of.null.x', undefined],
  ])('is refused, and no source helps, when %s', (_, credentials, flag) => {
    expect(identify(signing, { source: null, credentials })).toEqual({ kind: 'invalid', flag })
  })

  it('never beats invalid credentials into a source', () => {
    const found = identify(signing, { source: '10.0.0.1', credentials: 'Bearer robot.of.null' })
    expect(found).toEqual({ kind: 'invalid', flag: 'jwt_replayed' })
  })
})

describe('problems of clients', () => {
  it.each<[string, readonly ClientSpec[], string, RegExp]>([
    ['the reserved name', [{ name: 'anonymous', token: 'a' }], 'clients[0].name', /everybody/],
    ['an empty name', [{ name: '', token: 'a' }], 'clients[0].name', /not a name/],
    ['a name with a colon', [{ name: 'a:b', token: 'a' }], 'clients[0].name', /not a name/],
    [
      'a name twice',
      [
        { name: 'a', token: 'a' },
        { name: 'a', token: 'b' },
      ],
      'clients[1].name',
      /"a" too/,
    ],
    ['neither source nor token', [{ name: 'a' }], 'clients[0].source', /exactly one/],
    ['both', [{ name: 'a', token: 'a', source: ['10.0.0.1'] }], 'clients[0].source', /exactly one/],
    ['no source', [{ name: 'a', source: [] }], 'clients[0].source', /empty list/],
    ['a bad CIDR', [{ name: 'a', source: ['10.0.0.0/8', '10.0.0.1/8'] }], 'clients[0].source[1]', /not an address/],
    [
      'a source twice, once mapped',
      [
        { name: 'a', source: ['10.0.0.1'] },
        { name: 'b', source: ['::ffff:10.0.0.1'] },
      ],
      'clients[1].source[0]',
      /"a" too/,
    ],
    ['a token and its digest', [{ name: 'a', token: 'a', tokenDigest: DIGEST }], 'clients[0].source', /exactly one/],
    ['a token and a claim', [{ name: 'a', token: 'a', claimed: true }], 'clients[0].source', /exactly one/],
    ['a digest that is none', [{ name: 'a', tokenDigest: DIGEST.toUpperCase() }], 'clients[0].token', /digest/],
    [
      'a token, and its digest at another client',
      [
        { name: 'a', token: 'hashed-secret' },
        { name: 'b', tokenDigest: DIGEST },
      ],
      'clients[1].token',
      /"a" too/,
    ],
    ['an empty token', [{ name: 'a', token: '' }], 'clients[0].token', /empty/],
    ['a token with a blank', [{ name: 'a', token: 'x y' }], 'clients[0].token', /visible/],
    [
      'a token twice',
      [
        { name: 'a', token: 'x' },
        { name: 'b', token: 'x' },
      ],
      'clients[1].token',
      /"a" too/,
    ],
  ])('%s', (_, clients, at, message) => {
    const problems = clientProblems(clients)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toMatchObject({ at, message: expect.stringMatching(message) })
    expect(problems[0]?.fix).not.toBe('')
    expect(() => compileIdentity(clients)).toThrow(at)
  })

  it('are told all at once, without a token in the text', () => {
    const problems = clientProblems([
      { name: 'a b', token: 'top secret' },
      { name: '', source: ['x'] },
    ])
    expect(problems).toHaveLength(4)
    expect(JSON.stringify(problems)).not.toContain('top secret')
  })
})
