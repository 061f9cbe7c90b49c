import { Buffer } from 'node:buffer'
import { describe, expect, it } from 'vitest'
import { clientProblems, compileIdentity, identify, tokenClients } from '../../src/core/identity.ts'
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
    ['more than anybody sends', `Bearer ${'x'.repeat(5000)}`],
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
