import { describe, expect, it } from 'vitest'
import type { MatchSpec, RuleSpec } from '../../src/core/rule.ts'
import { checkRule } from '../../src/core/rule-check.ts'

const rule = (kind: RuleSpec['kind'], match: Partial<MatchSpec>, more: Partial<RuleSpec> = {}): RuleSpec => ({
  id: 'r',
  kind,
  match: { hosts: ['example.com'], ...match },
  ...more,
})

const problems = (spec: RuleSpec): readonly (readonly [string, string, string])[] => {
  const found: [string, string, string][] = []
  checkRule(spec, new Set(['mail', 'anonymous']), (at, message, fix) => found.push([at, message, fix]))
  return found
}

describe('a rule as written', () => {
  it.each<[string, RuleSpec]>([
    ['hosts alone', rule('allow', {})],
    [
      'everything an allow rule can say',
      rule(
        'allow',
        {
          methods: ['GET', 'purge'],
          paths: ['/a'],
          schemes: ['http'],
          ports: [1, 65535],
          upgrade: ['websocket'],
          encodedSlash: true,
        },
        {
          clients: ['mail', 'anonymous'],
          rate: { requests: 1, per: 'second', burst: 1_000_000_000 },
          limits: { requestBytes: 0, responseBytes: null },
          body: { json: [{ path: '$.a', must: 'be-absent' }] },
          audit: 'body',
        },
      ),
    ],
    [
      'a deny rule that looks at everything',
      rule('deny', { access: 'read-only', paths: ['/a'], upgrade: ['websocket'] }),
    ],
    ['a passthrough with ports', rule('passthrough', { ports: [8443], schemes: ['https'] })],
    ['encoded_slash written out as refused', rule('deny', { encodedSlash: false })],
    ['a deny rule with headers recorded', rule('deny', {}, { audit: 'headers' })],
    ['a passthrough with metadata recorded', rule('passthrough', {}, { audit: 'metadata' })],
  ])('is right: %s', (_, spec) => {
    expect(problems(spec)).toEqual([])
  })

  it.each<[string, RuleSpec, string, RegExp]>([
    ['no id', rule('allow', {}, { id: '' }), 'id', /no id/],
    ['bodies of what is denied', rule('deny', {}, { audit: 'body' }), 'audit', /only what is allowed/],
    ['bodies that are not seen', rule('passthrough', {}, { audit: 'body' }), 'audit', /only what is allowed/],
    ['headers that are not seen', rule('passthrough', {}, { audit: 'headers' }), 'audit', /never sees a request/],
    ['an unknown client', rule('allow', {}, { clients: ['mail', 'male'] }), 'clients[1]', /"male"/],
    ['no clients', rule('allow', {}, { clients: [] }), 'clients', /empty/],
    ['no hosts [D30]', rule('allow', { hosts: [] }), 'allow.hosts', /empty/],
    ['no methods', rule('deny', { methods: [] }), 'deny.methods', /empty/],
    ['no paths', rule('deny', { paths: [] }), 'deny.paths', /empty/],
    ['no schemes', rule('allow', { schemes: [] }), 'allow.schemes', /empty/],
    ['no ports', rule('passthrough', { ports: [] }), 'passthrough.ports', /empty/],
    ['no upgrade', rule('allow', { upgrade: [] }), 'allow.upgrade', /empty/],
    ['no conditions', rule('allow', {}, { body: { json: [] } }), 'body.json', /empty/],
    ['methods and access', rule('allow', { methods: ['GET'], access: 'read-only' }), 'allow.access', /twice/],
    ['a method that is no token', rule('allow', { methods: ['GET', 'G T'] }), 'allow.methods[1]', /not a method/],
    ['an empty method', rule('allow', { methods: [''] }), 'allow.methods[0]', /not a method/],
    ['a method in lower case', rule('deny', { methods: ['delete'] }), 'deny.methods[0]', /case-sensitive/],
    ['port 0', rule('allow', { ports: [443, 0] }), 'allow.ports[1]', /not a port/],
    ['a port too high', rule('allow', { ports: [65536] }), 'allow.ports[0]', /not a port/],
    ['half a port', rule('allow', { ports: [44.3] }), 'allow.ports[0]', /not a port/],
    ['an upgrade in upper case', rule('allow', { upgrade: ['WebSocket'] }), 'allow.upgrade[0]', /lower-case/],
    ['an upgrade that is no token', rule('allow', { upgrade: ['web socket'] }), 'allow.upgrade[0]', /lower-case/],
    ['a rate of none', rule('allow', {}, { rate: { requests: 0, per: 'hour' } }), 'rate.requests', /range/],
    ['a rate beyond all use', rule('allow', {}, { rate: { requests: 2e9, per: 'hour' } }), 'rate.requests', /range/],
    ['half a burst', rule('allow', {}, { rate: { requests: 1, per: 'hour', burst: 1.5 } }), 'rate.burst', /range/],
    ...[{ requests: 0, per: 'hour' } as const, { requests: 1, per: 'hour', burst: 2e9 } as const].map(
      (own): [string, RuleSpec, string, RegExp] => [
        `a rate of a method: ${JSON.stringify(own)}`,
        rule('allow', {}, { mcp: { tools: ['*'], rates: [{ method: 'tools/call', rate: own }] } }),
        'mcp.rates',
        /range/,
      ],
    ),
    [
      'a negative limit',
      rule('allow', {}, { limits: { requestBytes: -1, responseBytes: null } }),
      'limits.request_bytes',
      /range/,
    ],
    [
      'an infinite limit',
      rule('allow', {}, { limits: { requestBytes: null, responseBytes: Infinity } }),
      'limits.response_bytes',
      /range/,
    ],
    [
      'a deny with a body',
      rule('deny', {}, { body: { json: [{ path: '$', must: 'be-present' }] } }),
      'body',
      /only allow/,
    ],
    ['a deny with a rate', rule('deny', {}, { rate: { requests: 1, per: 'hour' } }), 'rate', /only allow/],
    ['a deny with limits', rule('deny', {}, { limits: { requestBytes: 1, responseBytes: 1 } }), 'limits', /only allow/],
    ['a deny with encoded_slash', rule('deny', { encodedSlash: true }), 'deny.encoded_slash', /only allow/],
    ['a passthrough with methods', rule('passthrough', { methods: ['GET'] }), 'passthrough.methods', /never sees/],
    ['a passthrough with access', rule('passthrough', { access: 'read-only' }), 'passthrough.access', /never sees/],
    ['a passthrough with paths', rule('passthrough', { paths: ['/'] }), 'passthrough.paths', /never sees/],
    [
      'a passthrough with upgrade',
      rule('passthrough', { upgrade: ['websocket'] }),
      'passthrough.upgrade',
      /never sees/,
    ],
    ['a passthrough of plain http', rule('passthrough', { schemes: ['http'] }), 'passthrough.schemes', /TLS only/],
  ])('is wrong: %s', (_, spec, at, message) => {
    const [problem, ...others] = problems(spec)
    expect(problem).toEqual([at, expect.stringMatching(message), expect.stringMatching(/./)])
    expect(others).toEqual([])
  })
})
