// Which names are answered, for whom, and on whose account.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { couldAllow, type Policy, compilePolicy } from '../../src/core/policy.ts'
import { judgeName, looksLikeData, newNamesDenied } from '../../src/core/question.ts'
import type { ClientSpec, MatchSpec, PolicySpec, RuleSpec } from '../../src/core/rule.ts'

const CLIENTS: readonly ClientSpec[] = [
  { name: 'one', source: ['10.0.0.1'] },
  { name: 'two', source: ['10.0.0.2'] },
]

function policyOf(rules: readonly RuleSpec[], mode: PolicySpec['mode'] = 'enforce'): Policy {
  const compiled = compilePolicy({ mode, clients: CLIENTS, rules })
  if (compiled.kind === 'bad') throw new Error(JSON.stringify(compiled.problems))
  return compiled.policy
}

const rule = (kind: RuleSpec['kind'], id: string, match: MatchSpec, clients?: readonly string[]): RuleSpec => ({
  kind,
  id,
  match,
  ...(clients === undefined ? {} : { clients }),
})
const allow = (id: string, match: MatchSpec, clients?: readonly string[]): RuleSpec => rule('allow', id, match, clients)
const deny = (id: string, match: MatchSpec, clients?: readonly string[]): RuleSpec => rule('deny', id, match, clients)

const said = (policy: Policy, name: string, client = 'one'): unknown => {
  const verdict = judgeName(policy, client, name)
  if (verdict.kind === 'granted') return [verdict.kind, verdict.rule, verdict.below]
  return verdict.kind === 'denied' ? [verdict.reason, verdict.rule] : [verdict.kind]
}

const POLICY = policyOf([
  allow('exact', { hosts: ['api.test'], methods: ['GET'], paths: ['/v1/**'] }),
  allow('odd-port', { hosts: ['odd.test'], schemes: ['http'], ports: [8081] }),
  allow('wild', { hosts: ['*.one.test', '**.deep.test'] }),
  allow('named-below', { hosts: ['written.one.test'] }),
  allow('for-two', { hosts: ['two.test'] }, ['two']),
  allow('two-patterns', { hosts: ['**.wide.test', 'x.wide.test', '**.a.wide.test', '*.s.wide.test'] }),
  allow('denied', { hosts: ['denied.test'] }),
  allow('http-too', { hosts: ['both.test'], schemes: ['http', 'https'] }),
  allow('half', { hosts: ['half.test'], ports: [443, 8443] }),
  allow('inspected', { hosts: ['inspected.test'] }),
  allow('ports-denied', { hosts: ['closed.test'], ports: [8443] }),
  allow('local', { hosts: ['dev.localhost'] }),
  rule('passthrough', 'pinned', { hosts: ['pinned.test'] }),
  rule('passthrough', 'wild-pinned', { hosts: ['**.pin.test'] }),
  allow('below-pinned', { hosts: ['app.pin.test'], ports: [8443] }),
  deny('no-denied', { hosts: ['**.denied.test', 'denied.one.test'] }),
  deny('no-two', { hosts: ['both.test'] }, ['two']),
  deny('no-443', { hosts: ['half.test'], ports: [443] }),
  deny('no-delete', { hosts: ['inspected.test'], methods: ['DELETE'] }),
  deny('no-sockets', { hosts: ['api.test'], upgrade: ['websocket'] }),
  deny('no-8443', { hosts: ['closed.test'], ports: [8443] }),
  deny('no-https', { hosts: ['other.test'], schemes: ['https'] }),
  deny('no-loop', { hosts: ['never.localhost'] }),
])

describe('a name is answered where some rule could allow a request to it', () => {
  it.each<[string, string, unknown]>([
    ['by any method and path', 'api.test', ['granted', 'exact', '']],
    ['in any case, with a trailing dot', 'API.Test.', ['granted', 'exact', '']],
    ['by any scheme and port', 'odd.test', ['granted', 'odd-port', '']],
    ['undecrypted', 'pinned.test', ['granted', 'pinned', '']],
    ['by a wildcard', 'abc.one.test', ['granted', 'wild', 'abc']],
    ['at the apex of a subtree', 'deep.test', ['granted', 'wild', '']],
    ['at any depth of a subtree', 'a.b.deep.test', ['granted', 'wild', 'a.b']],
    ['by the rule that writes it out', 'written.one.test', ['granted', 'named-below', '']],
    ['by the pattern that leaves the least', 'b.a.wide.test', ['granted', 'two-patterns', 'b']],
    ['by the pattern that matches, not by one that is nearer', 'b.a.s.wide.test', ['granted', 'two-patterns', 'b.a.s']],
    ['by the pattern that writes it out', 'x.wide.test', ['granted', 'two-patterns', '']],
    ['by a wildcard of a passthrough', 'cdn.pin.test', ['granted', 'wild-pinned', 'cdn']],
    ['written out beside the wildcard of a passthrough', 'app.pin.test', ['granted', 'below-pinned', '']],
    ['although one of its ports is denied', 'half.test', ['granted', 'half', '']],
    ['although a method is denied', 'inspected.test', ['granted', 'inspected', '']],
    ['with an underscore', '_x.one.test', ['granted', 'wild', '_x']],
    ['below localhost, if a rule says so', 'dev.localhost', ['granted', 'local', '']],
  ])('%s', (_why, name, expected) => {
    expect(said(POLICY, name)).toEqual(expected)
  })

  it('for the client that the rule is for', () => {
    expect(said(POLICY, 'two.test', 'two')).toEqual(['granted', 'for-two', ''])
    expect(said(POLICY, 'two.test', 'one')).toEqual(['no_matching_rule', null])
    expect(said(POLICY, 'two.test', 'anonymous')).toEqual(['no_matching_rule', null])
  })

  it('and not denied to', () => {
    expect(said(POLICY, 'both.test', 'one')).toEqual(['granted', 'http-too', ''])
    expect(said(POLICY, 'both.test', 'two')).toEqual(['denied_by_rule', 'no-two'])
  })
})

describe('a name is not answered', () => {
  it.each<[string, string, unknown]>([
    ['that no rule names', 'evil.test', ['no_matching_rule', null]],
    ['one label deeper than the wildcard', 'a.b.one.test', ['no_matching_rule', null]],
    ['at the apex of a wildcard of one label', 'one.test', ['no_matching_rule', null]],
    ['below a name that is written out', 'data.api.test', ['no_matching_rule', null]],
    ['that ends like one', 'notapi.test', ['no_matching_rule', null]],
    ['that is denied whole', 'denied.test', ['denied_by_rule', 'no-denied']],
    ['that is denied and has no other rule', 'x.denied.test', ['denied_by_rule', 'no-denied']],
    ['that is denied under a wildcard', 'denied.one.test', ['denied_by_rule', 'no-denied']],
    ['all of whose ports are denied', 'closed.test', ['denied_by_rule', 'no-8443']],
    ['of which only a scheme is denied, as none is allowed', 'other.test', ['no_matching_rule', null]],
    ['that is reverse', '4.3.2.1.in-addr.arpa', ['no_matching_rule', null]],
    ['of one label', 'api', ['no_matching_rule', null]],
    ['that is an address', '203.0.113.7', ['host_not_canonical', null]],
    ['that is an IPv6 address', '[2001:db8::1]', ['host_not_canonical', null]],
    ['that some read as an address', '0x7f.1', ['host_not_canonical', null]],
    ['with a full stop inside a label', 'api\\046test', ['host_not_canonical', null]],
    ['with a space', 'a\\032b.one.test', ['host_not_canonical', null]],
    ['of 64 characters a label', `${'a'.repeat(64)}.one.test`, ['host_not_canonical', null]],
    ['that is the root', '', ['host_not_canonical', null]],
    ['denied below localhost', 'never.localhost', ['denied_by_rule', 'no-loop']],
  ])('%s', (_why, name, expected) => {
    expect(said(POLICY, name)).toEqual(expected)
  })
})

it.each(['localhost', 'LOCALHOST.', 'anything.localhost'])('%s is this machine (RFC 6761)', (name) => {
  expect(said(POLICY, name)).toEqual(['loopback'])
})

describe('observe mode', () => {
  const observing = policyOf([allow('exact', { hosts: ['api.test'] }), deny('no', { hosts: ['no.test'] })], 'observe')

  it('answers what policy refuses, and says so', () => {
    expect(judgeName(observing, 'one', 'evil.test')).toMatchObject({ reason: 'no_matching_rule', observed: true })
    expect(judgeName(observing, 'one', 'no.test')).toMatchObject({
      reason: 'denied_by_rule',
      rule: 'no',
      observed: true,
    })
    expect(judgeName(observing, 'one', 'api.test')).toMatchObject({ kind: 'granted' })
    const granted = { host: { kind: 'name', text: 'api.test' }, rule: 'exact' } as const
    expect(newNamesDenied(observing, granted)).toMatchObject({ reason: 'rate_limited', observed: true })
  })

  it('but not what is no name', () => {
    expect(judgeName(observing, 'one', 'a\\000b')).toMatchObject({ reason: 'host_not_canonical', observed: false })
  })
})

it('agrees with the judge of requests: answered if and only if some service of some rule could be allowed', () => {
  const hosts = ['a.test', 'b.a.test', 'c.b.a.test', 'x.test']
  const patterns = ['a.test', '*.a.test', '**.a.test', 'x.test']
  const subsetOf = <T>(values: readonly T[]): fc.Arbitrary<T[]> =>
    fc.uniqueArray(fc.constantFrom(...values), { minLength: 1 })
  const match = fc
    .record({ hosts: subsetOf(patterns) })
    .chain((given) =>
      fc
        .record(
          { ports: subsetOf([443, 80, 8443]), schemes: subsetOf(['http', 'https'] as const) },
          { requiredKeys: [] },
        )
        .map((more): MatchSpec => ({ ...given, ...more })),
    )
  const one = fc.record({ kind: fc.constantFrom('allow', 'deny'), match, clients: fc.option(subsetOf(['one', 'two'])) })
  fc.assert(
    fc.property(fc.array(one, { maxLength: 6 }), fc.constantFrom(...hosts), (drawn, host) => {
      const policy = policyOf(
        drawn.map(({ kind, match: matching, clients }, index) =>
          rule(kind, `r${index}`, matching, clients ?? undefined),
        ),
      )
      const name = { client: 'one', host: { kind: 'name', text: host } } as const
      const expected = [443, 80, 8443].some((port) => couldAllow(policy, { ...name, port, scheme: null }))
      expect(judgeName(policy, 'one', host).kind === 'granted').toBe(expected)
    }),
    { numRuns: 500 },
  )
})

describe('[E21] labels in the place of a wildcard', () => {
  it.each([
    ['a word', 'www'],
    ['nothing', ''],
    ['a CDN distribution', 'd111111abcdef8'],
    ['a machine', 'ec2-203-0-113-25.compute-1'],
    ['a UUID', '550e8400-e29b-41d4-a716-446655440000'],
    ['a commit', 'da39a3ee5e6b4b0d3255bfef95601890afd80709'],
    ['a load balancer', 'my-production-network-lb-12-0123456789abcdef.elb.eu-central-1'],
    ['a preview', 'my-project-git-feature-some-long-branch-name-my-team-name'],
    ['a VPC endpoint', 'vpce-0123456789abcdef0-abcdefgh.s3.us-east-1.vpce'],
    ['a bucket', 'my-bucket-with-a-reasonably-long-name-for-logs-in-prod.s3.eu-central-1'],
    ['a video cache', 'r4---sn-4g5e6nsz.c'],
  ])('%s is a name', (_what, below) => {
    expect(looksLikeData(below)).toBe(false)
  })

  it.each([
    ['56 characters of base32', 'mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6dzpiydcmrtgq2tmnzy'],
    ['63 hex digits', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85'],
    ['base32 in two labels', 'mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6d.zpiydcmrtgq2tmnzyhezdgnbvgy3tqojq'],
    ['more than 80 characters of anything', `${'a'.repeat(40)}.${'b'.repeat(40)}`],
  ])('%s is data', (_what, below) => {
    expect(looksLikeData(below)).toBe(true)
  })

  const data = 'mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6dzpiydcmrtgq2tmnzy'

  it('is refused under a wildcard, with the rule and a flag, and not where it is written out', () => {
    const policy = policyOf([
      allow('wild', { hosts: ['*.zone.test'] }),
      allow('named', { hosts: [`${data}.named.test`, '*.named.test'] }),
    ])
    expect(judgeName(policy, 'one', `${data}.zone.test`)).toEqual({
      kind: 'denied',
      host: { kind: 'name', text: `${data}.zone.test` },
      reason: 'no_matching_rule',
      rule: 'wild',
      flags: ['dns_label_entropy'],
      observed: false,
    })
    expect(said(policy, `${data}.named.test`)).toEqual(['granted', 'named', ''])
  })
})
