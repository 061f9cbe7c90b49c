import { describe, expect, it } from 'vitest'
import { type Host, parseHost } from '../../src/core/address.ts'
import { type Considered, considered, rulesNaming } from '../../src/core/considered.ts'
import { compilePolicy, type Policy } from '../../src/core/policy.ts'
import type { MatchSpec, RuleSpec, Subject } from '../../src/core/rule.ts'

const subject = (changes: Partial<Subject>): Subject => ({
  client: 'github-mcp',
  scheme: 'https',
  method: 'GET',
  host: parseHost('api.github.com') as Host,
  port: 443,
  path: '/user',
  encodedSlash: false,
  target: '/user',
  upgrade: null,
  overrideHeaders: [],
  ...changes,
})

const rule = (
  id: string,
  kind: RuleSpec['kind'],
  match: Partial<MatchSpec>,
  more: Partial<RuleSpec> = {},
): RuleSpec => ({ id, kind, match: { hosts: ['api.github.com'], ...match }, ...more })

function policyOf(...rules: readonly RuleSpec[]): Policy {
  const clients = ['github-mcp', 'mail'].map((name, index) => ({ name, source: [`10.0.0.${index + 1}`] }))
  const compiled = compilePolicy({ mode: 'enforce', clients, rules })
  if (compiled.kind === 'bad') throw new Error(JSON.stringify(compiled.problems))
  return compiled.policy
}

const lines = ({ rules }: Considered): string[] =>
  rules.map(({ rule: id, kind, matched, missing }) => {
    expect(matched).toBe(missing.length === 0)
    return `${kind} ${id}: ${missing.join(' ')}`.trimEnd()
  })

describe('a rule that names the host', () => {
  it.each<[string, RuleSpec, Partial<Subject>, string]>([
    ['matches', rule('r', 'allow', {}), {}, 'allow r:'],
    ['lacks the client', rule('r', 'allow', {}, { clients: ['mail'] }), {}, 'allow r: client'],
    ['lacks the method', rule('r', 'allow', { methods: ['PUT'] }), {}, 'allow r: method'],
    ['lacks the path', rule('r', 'allow', { paths: ['/repos/**'] }), {}, 'allow r: path'],
    ['lacks the port', rule('r', 'allow', {}), { port: 8443 }, 'allow r: port'],
    ['lacks the scheme', rule('r', 'allow', {}), { scheme: 'http', port: 80 }, 'allow r: scheme'],
    ['lacks the upgrade', rule('r', 'allow', {}), { upgrade: 'websocket' }, 'allow r: upgrade'],
    ['lacks %2F', rule('r', 'allow', {}), { path: '/a%2Fb', encodedSlash: true }, 'allow r: encoded_slash'],
    [
      'can not hold against override headers',
      rule('r', 'allow', { methods: ['GET'] }),
      { overrideHeaders: ['x-original-url'] },
      'allow r: override_header',
    ],
    [
      'lacks several',
      rule('r', 'allow', { methods: ['PUT'], paths: ['/b'] }, { clients: ['mail'] }),
      { path: '/a%2Fb', encodedSlash: true, upgrade: 'websocket' },
      'allow r: path method client encoded_slash upgrade',
    ],
    ['passes through', rule('r', 'passthrough', {}), { upgrade: 'websocket' }, 'passthrough r:'],
    ['passes another port through', rule('r', 'passthrough', {}), { port: 8443 }, 'passthrough r: port'],
    ['denies', rule('r', 'deny', {}), {}, 'deny r:'],
    ['denies another port', rule('r', 'deny', { ports: [8443] }), {}, 'deny r: port'],
    ['denies another scheme', rule('r', 'deny', { schemes: ['http'] }), {}, 'deny r: scheme'],
    ['denies upgrades', rule('r', 'deny', { upgrade: ['websocket'] }), {}, 'deny r: upgrade'],
    ['denies this upgrade', rule('r', 'deny', { upgrade: ['websocket'] }), { upgrade: 'websocket' }, 'deny r:'],
    [
      'denies what %2F may be read as',
      rule('r', 'deny', { paths: ['/a/**'] }),
      { path: '/a%2Fb', encodedSlash: true },
      'deny r:',
    ],
    [
      'denies the path as it stands',
      rule('r', 'deny', { paths: ['/a%2Fb'] }),
      { path: '/a%2Fb', encodedSlash: true },
      'deny r:',
    ],
  ])('%s', (_, spec, changes, expected) => {
    expect(lines(considered(policyOf(spec), subject(changes)))).toEqual([expected])
  })
})

describe('the list', () => {
  it('has deny rules first, then what comes nearest, and no rule of another host', () => {
    const policy = policyOf(
      rule('far', 'allow', { methods: ['PUT'], paths: ['/a'] }),
      rule('near', 'allow', { hosts: ['**.github.com'], methods: ['PUT'] }),
      rule('also-near', 'allow', { hosts: ['*.github.com'], methods: ['PUT'] }),
      rule('elsewhere', 'allow', { hosts: ['github.com'] }),
      rule('never', 'deny', { hosts: ['*'], ports: [8080] }, { clients: ['mail'] }),
      rule('pinned', 'passthrough', { hosts: ['*.github.com'], ports: [8443] }),
    )
    expect(lines(considered(policy, subject({})))).toEqual([
      'deny never: port client',
      'passthrough pinned: port',
      'allow near: method',
      'allow also-near: method',
      'allow far: path method',
    ])
  })

  it('has twenty at most, the nearest among them, and says how many more there are', () => {
    const far = Array.from({ length: 30 }, (_, index) => rule(`far-${index}`, 'deny', { paths: [`/${index}`] }))
    const found = considered(policyOf(...far, rule('r', 'allow', {})), subject({}))
    expect(found.omitted).toBe(11)
    expect(found.rules).toHaveLength(20)
    expect(lines(found).at(-1)).toBe('allow r:')
  })

  it('is empty where no rule names the host', () => {
    expect(considered(policyOf(), subject({}))).toEqual({ rules: [], omitted: 0 })
  })

  it('names a rule once, however many of its hosts match', () => {
    const policy = policyOf(rule('r', 'allow', { hosts: ['api.github.com', '**.github.com'] }))
    expect(rulesNaming(policy, parseHost('api.github.com') as Host).map(({ id }) => id)).toEqual(['r'])
  })
})
