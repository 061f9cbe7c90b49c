import { describe, expect, it } from 'vitest'
import { type Host, parseHost } from '../../src/core/address.ts'
import { hintForBody, hintForLimit, hintForNoMatch, hintForRule } from '../../src/core/hint.ts'
import type { MatchSpec, Permit, RuleSpec, Subject } from '../../src/core/rule.ts'
import { type CompiledRule, compileRule } from '../../src/core/rule-compile.ts'
import { buildIndex } from '../../src/core/rule-index.ts'

const subject = (changes: Partial<Subject>): Subject => ({
  client: 'github-mcp',
  scheme: 'https',
  method: 'GET',
  host: parseHost('api.github.com') as Host,
  port: 443,
  path: '/user/emails',
  encodedSlash: false,
  target: '/user/emails',
  upgrade: null,
  overrideHeaders: [],
  ...changes,
})

const rule = (id: string, match: Partial<MatchSpec>, more: Partial<RuleSpec> = {}): RuleSpec => ({
  id,
  kind: 'allow',
  match: { hosts: ['api.github.com'], ...match },
  ...more,
})

const compile = (specs: readonly RuleSpec[]): readonly CompiledRule[] =>
  specs.map((spec, order) => compileRule(spec, order, new Set(['github-mcp', 'mail']), () => {}))

const hint = (asked: Subject, ...specs: readonly RuleSpec[]): string => {
  const rules = compile(specs)
  const of = (kind: RuleSpec['kind']): ReturnType<typeof buildIndex> =>
    buildIndex(rules.filter((one) => one.kind === kind))
  return hintForNoMatch(of('allow'), of('passthrough'), asked)
}

const read = rule('github-read', { methods: ['GET', 'HEAD'], paths: ['/repos/acme/**', '/user'] })

describe('what to do about a denial', () => {
  it.each<[string, Subject, readonly RuleSpec[], string]>([
    ['a path', subject({}), [read], 'add /user/emails to the paths of rule github-read'],
    ['a method', subject({ method: 'DELETE', path: '/user' }), [read], 'add DELETE to the methods of rule github-read'],
    [
      'a path and a method',
      subject({ method: 'PUT' }),
      [read],
      'add /user/emails to the paths and PUT to the methods of rule github-read',
    ],
    ['a port', subject({ port: 8443, path: '/user' }), [read], 'add 8443 to the ports of rule github-read'],
    [
      'a scheme',
      subject({ scheme: 'http', port: 80, path: '/user' }),
      [read],
      'add http to the schemes of rule github-read',
    ],
    [
      'a port of a scheme',
      subject({ scheme: 'http', port: 81 }),
      [rule('r', { schemes: ['http'] })],
      'add 81 to the ports of rule r',
    ],
    ['a client', subject({}), [rule('r', {}, { clients: ['mail'] })], 'add github-mcp to the clients of rule r'],
    [
      'an operation',
      subject({ method: 'PUT' }),
      [rule('r:user/get', { methods: ['GET'], paths: ['/user'] })],
      'add the operation to the openapi.allow of rule r',
    ],
    [
      'the port of an operation',
      subject({ method: 'GET', path: '/user', port: 8443 }),
      [rule('r:user/get', { methods: ['GET'], paths: ['/user'] })],
      'add port 8443 to the servers in the API description of rule r',
    ],
    [
      'the scheme of an operation',
      subject({ method: 'GET', path: '/user', scheme: 'http', port: 80 }),
      [rule('r:user/get', { methods: ['GET'], paths: ['/user'] })],
      'add http to the servers in the API description of rule r',
    ],
    [
      'the client of an operation',
      subject({}),
      [rule('r:user/get', { methods: ['GET'], paths: ['/user/*'] }, { clients: ['mail'] })],
      'add github-mcp to the clients of rule r',
    ],
    [
      'the nearest rule',
      subject({}),
      [rule('far', { methods: ['PUT'], paths: ['/a'] }), read],
      'add /user/emails to the paths of rule github-read',
    ],
    [
      'its own rule first',
      subject({}),
      [rule('other', { paths: ['/a'] }, { clients: ['mail'] }), read],
      'add /user/emails to the paths of rule github-read',
    ],
    [
      'a host',
      subject({}),
      [rule('r', { hosts: ['github.com'] })],
      'no rule names api.github.com; add it to the hosts of an allow rule',
    ],
    [
      'an IPv6 host',
      subject({ host: parseHost('[2001:db8::1]') as Host }),
      [],
      'no rule names [2001:db8::1]; add it to the hosts of an allow rule',
    ],
    [
      'more than passthrough',
      subject({}),
      [rule('pinned', {}, { kind: 'passthrough' })],
      'rule pinned only passes TLS through to api.github.com; add it to the hosts of an allow rule',
    ],
    [
      'a path too long to repeat',
      subject({ path: `/${'a'.repeat(5000)}` }),
      [read],
      `add /${'a'.repeat(127)}… to the paths of rule github-read`,
    ],
  ])('names %s', (_, asked, specs, expected) => {
    expect(hint(asked, ...specs)).toBe(expected)
  })

  it('looks at no more than 64 rules', () => {
    const far = Array.from({ length: 64 }, (_, index) =>
      rule(`far-${index}`, { methods: ['PUT'], paths: [`/${index}`] }),
    )
    expect(hint(subject({}), ...far, read)).toMatch(/of rule far-\d+$/)
    expect(hint(subject({}), ...far.slice(1), read)).toMatch(/of rule github-read$/)
  })

  it.each([
    ['denied_by_rule', 'rule r denies this'],
    ['upgrade_denied', 'add websocket to the upgrade of rule r'],
    ['path_not_canonical', 'the path holds %2F, for which rule r needs encoded_slash: allow'],
    ['override_header', 'send the request without x-original-url, x-rewrite-url: rule r looks at the method or path'],
  ] as const)('for %s, names the rule', (reason, expected) => {
    const [compiled] = compile([rule('r', {})])
    const asked = subject({ upgrade: 'websocket', overrideHeaders: ['x-original-url', 'x-rewrite-url'] })
    expect(hintForRule(reason, compiled as CompiledRule, asked)).toBe(expected)
  })

  it('does not advise an upgrade that no rule can open', () => {
    const [compiled] = compile([rule('r', {})])
    const asked = subject({ upgrade: 'h2c' })
    expect(hintForRule('upgrade_denied', compiled as CompiledRule, asked)).toBe('send the request without Upgrade: h2c')
  })

  it('names what a body lacks, within bounds', () => {
    expect(hintForBody('send-mail', '$.Bcc must be-absent')).toBe('rule send-mail: $.Bcc must be-absent')
    expect(hintForBody('r', 'x'.repeat(500))).toHaveLength(129)
  })

  it('names the limit that is used up', () => {
    const permit = {
      rule: 'r',
      rate: { requests: 60, per: 'minute' },
      limits: { requestBytes: 9, responseBytes: null },
    }
    expect(hintForLimit('rate_limited', permit as Permit)).toBe('rule r allows 60 requests a minute')
    expect(hintForLimit('request_too_large', permit as Permit)).toBe('rule r takes at most 9 bytes of body')
    expect(hintForLimit('rate_limited', { ...permit, rule: 'r:a' } as Permit)).toBe(
      'rule r allows 60 requests a minute',
    )
    expect(hintForLimit('rate_limited', { ...permit, rate: null } as Permit)).toBe('wait and try again')
    const method = { method: 'tools/call', rate: { requests: 5, per: 'hour' } } as const
    expect(hintForLimit('rate_limited', permit as Permit, method)).toBe('rule r allows 5 tools/call a hour')
  })
})
