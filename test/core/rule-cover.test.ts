import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Host, parseHost } from '../../src/core/address.ts'
import { compilePathGlob, matchPathGlob } from '../../src/core/glob.ts'
import { parseHostPattern } from '../../src/core/host-pattern.ts'
import { compilePolicy, decide, type Policy } from '../../src/core/policy.ts'
import type { MatchSpec, RuleSpec, Subject } from '../../src/core/rule.ts'
import { type CompiledRule, compileRule } from '../../src/core/rule-compile.ts'
import {
  covers,
  coversGlob,
  coversHost,
  type Dimension,
  demandsNoMore,
  narrowed,
  precedes,
} from '../../src/core/rule-cover.ts'

const CLIENTS = ['a', 'b']

const compile = (spec: RuleSpec, order = 0): CompiledRule => {
  const problems: string[] = []
  const rule = compileRule(spec, order, new Set([...CLIENTS, 'anonymous']), (at, message) =>
    problems.push(`${at}: ${message}`),
  )
  expect(problems).toEqual([])
  return rule
}

const allow = (match: Partial<MatchSpec>, more: Partial<RuleSpec> = {}): RuleSpec => ({
  id: 'r',
  kind: 'allow',
  match: { hosts: ['x.example.com'], ...match },
  ...more,
})
const deny = (match: Partial<MatchSpec>): RuleSpec => ({ ...allow(match), kind: 'deny' })
const passthrough = (match: Partial<MatchSpec>): RuleSpec => ({ ...allow(match), kind: 'passthrough' })

describe('a glob covers another', () => {
  it.each([
    ['/a', '/a', true],
    ['/**', '/a/*/b', true],
    ['/**', '/**', true],
    ['/a/**', '/a/b', true],
    ['/a/**', '/a/*', true],
    ['/a/**', '/a/**/z', true],
    ['/a/*', '/a/x*', true],
    ['/*/b', '/a*/b', true],
    ['/a/*/*', '/a/*/b', true],
    ['/**/b', '/a/**/b', true],
    ['/a**c', '/ab*c', true],
    ['/a/*', '/a/**', false],
    ['/a/*', '/a/*/b', false],
    ['/a/*/*', '/a/**', false],
    ['/x/**/y', '/x**y', false],
    ['/a/**', '/a', false],
    ['/a/**', '/**', false],
    ['/a', '/a*', false],
    ['/*/*', '/**', false],
  ])('%s, %s: %s', (outer, inner, expected) => {
    expect(coversGlob(compilePathGlob(outer), compilePathGlob(inner))).toBe(expected)
  })

  const piece = fc.constantFrom('/', 'a', 'b', '*', '**')
  const glob = fc
    .array(piece, { maxLength: 6 })
    .map((pieces) => `/${pieces.join('')}`)
    .filter((text) => !text.includes('***') && !text.includes('//'))
  const path = fc.array(fc.constantFrom('/', 'a', 'b'), { maxLength: 8 }).map((chars) => `/${chars.join('')}`)

  it('only where every path of the one is one of the other', () => {
    let covered = 0
    fc.assert(
      fc.property(glob, glob, fc.array(path, { minLength: 20, maxLength: 20 }), (outer, inner, paths) => {
        const [wide, narrow] = [compilePathGlob(outer), compilePathGlob(inner)]
        if (!coversGlob(wide, narrow)) return
        covered += 1
        for (const one of paths) expect(!matchPathGlob(narrow, one) || matchPathGlob(wide, one)).toBe(true)
      }),
      { numRuns: 3_000 },
    )
    expect(covered).toBeGreaterThan(100)
  })
})

describe('a host pattern covers another', () => {
  it.each([
    ['*', '**.example.com', true],
    ['*', '*', true],
    ['**.example.com', '*', false],
    ['a.example.com', 'a.example.com', true],
    ['a.example.com', 'b.example.com', false],
    ['example.com', '*.example.com', false],
    ['*.example.com', 'a.example.com', true],
    ['*.example.com', 'a.b.example.com', false],
    ['*.example.com', 'example.com', false],
    ['*.example.com', '*.example.com', true],
    ['*.example.com', '**.example.com', false],
    ['*.example.com', '**.a.example.com', false],
    ['**.example.com', 'example.com', true],
    ['**.example.com', 'a.b.example.com', true],
    ['**.example.com', '*.a.example.com', true],
    ['**.example.com', '**.example.com', true],
    ['**.a.example.com', '**.example.com', false],
    ['**.example.com', 'notexample.com', false],
    ['*.internal', 'internal', false],
  ])('%s, %s: %s', (outer, inner, expected) => {
    const pattern = (text: string) => {
      const parsed = parseHostPattern(text, false)
      if (parsed.kind === 'bad') throw new Error(parsed.why)
      return parsed.pattern
    }
    expect(coversHost(pattern(outer), pattern(inner))).toBe(expected)
  })
})

describe('a rule covers another', () => {
  it.each<[string, RuleSpec, RuleSpec, boolean]>([
    ['the same', allow({}), allow({}), true],
    ['fewer hosts', allow({ hosts: ['**.example.com'] }), allow({}), true],
    ['no host of two', allow({}), allow({ hosts: ['x.example.com', 'y.example.com'] }), false],
    ['of one client', allow({}), allow({}, { clients: ['a'] }), true],
    ['of every client', allow({}, { clients: ['a'] }), allow({}), false],
    ['any method', allow({ methods: ['GET'] }), allow({}), false],
    ['one of its methods', allow({ access: 'read-only' }), allow({ methods: ['GET'] }), true],
    ['TRACE, which must be named', allow({}), allow({ methods: ['TRACE'] }), false],
    ['TRACE in a deny rule', deny({}), allow({ methods: ['TRACE'] }), true],
    ['a path of a globstar', allow({ paths: ['/x', '/a/**'] }), allow({ paths: ['/a/b', '/x'] }), true],
    ['any path', allow({ paths: ['/**'] }), allow({}), false],
    ['another port', allow({}), allow({ ports: [8443] }), false],
    ['a scheme more', allow({}), allow({ schemes: ['http', 'https'] }), false],
    ['every port by one scheme', deny({ schemes: ['https'] }), allow({ ports: [8443] }), true],
    ['the other scheme', deny({ schemes: ['https'] }), allow({ schemes: ['http'] }), false],
    ['http by a rule for http', deny({ schemes: ['http'] }), allow({ schemes: ['http'], ports: [8080] }), true],
    ['every scheme', deny({ schemes: ['https'] }), deny({}), false],
    ['any port', deny({ ports: [443] }), deny({ schemes: ['https'] }), false],
    ['paths but some', allow({ paths: ['/**'], notPaths: ['/a'] }), allow({ paths: ['/b'] }), false],
    ['fewer paths', allow({ paths: ['/**'] }), allow({ paths: ['/*'], notPaths: ['/a'] }), true],
    ['an upgrade', allow({}), allow({ upgrade: ['websocket'] }), false],
    ['no upgrade', allow({ upgrade: ['websocket'] }), allow({}), true],
    ['what is no upgrade', deny({ upgrade: ['websocket'] }), allow({ upgrade: ['websocket'] }), false],
    ['the same upgrade', deny({ upgrade: ['websocket'] }), deny({ upgrade: ['websocket'] }), true],
    ['with and without it', deny({ upgrade: ['websocket'] }), deny({}), false],
    ['paths with %2F', allow({}), allow({ encodedSlash: true }), false],
    ['paths without', allow({ encodedSlash: true }), allow({ encodedSlash: true }), true],
    ['paths with %2F that are denied', deny({}), allow({ encodedSlash: true }), true],
    ['what is passed through', deny({}), passthrough({}), true],
    ['what is passed through unseen', deny({ methods: ['GET'] }), passthrough({}), false],
    ['what is passed through without an upgrade', deny({ upgrade: ['websocket'] }), passthrough({}), false],
    ['passthrough of the same', passthrough({ hosts: ['**.example.com'] }), passthrough({}), true],
    ['what is seen', passthrough({}), allow({ upgrade: ['websocket'] }), true],
    ['what is plain', passthrough({}), allow({ schemes: ['http'] }), false],
  ])('%s', (_, outer, inner, expected) => {
    expect(covers(compile(outer), compile(inner))).toBe(expected)
  })
})

describe('a rule decides before another', () => {
  it.each<[string, RuleSpec, number, RuleSpec, number, boolean]>([
    ['that is later in the file', allow({}), 0, allow({ methods: ['GET'] }), 1, true],
    ['but not the earlier one', allow({}), 1, allow({ methods: ['GET'] }), 0, false],
    ['but not the more specific one', allow({ hosts: ['**.example.com'] }), 0, allow({}), 1, false],
    ['of the same wildcard', allow({ hosts: ['**.example.com'] }), 0, allow({ hosts: ['**.example.com'] }), 1, true],
    ['but not of another wildcard', deny({ hosts: ['*'] }), 0, deny({ hosts: ['*.example.com'] }), 1, false],
    ['of every host', deny({ hosts: ['*'] }), 0, deny({ hosts: ['*'] }), 1, true],
  ])('%s', (_, outer, first, inner, second, expected) => {
    expect(precedes(compile(outer, first), compile(inner, second))).toBe(expected)
  })
})

describe('a rule asks no more of bodies', () => {
  const bcc = { path: '$.Bcc', must: 'be-absent' } as const
  const from = { path: '$.From', must: 'match', value: '*@a' } as const
  const field = { in: 'form', path: 'to', must: 'be-present' } as const
  const body = (more: Partial<RuleSpec>): RuleSpec => allow({}, more)
  it.each<[string, RuleSpec, RuleSpec, boolean]>([
    ['where it asks nothing', body({}), body({ body: { json: [bcc] } }), true],
    ['not where only it asks', body({ body: { json: [bcc] } }), body({}), false],
    ['where it asks the same', body({ body: { json: [bcc] } }), body({ body: { json: [bcc] } }), true],
    ['where it asks less', body({ body: { json: [bcc] } }), body({ body: { json: [from, bcc] } }), true],
    ['not where it asks other things', body({ body: { json: [bcc] } }), body({ body: { json: [from] } }), false],
    [
      'not where it allows fewer kinds',
      body({ body: { json: [bcc] } }),
      body({ body: { json: [bcc], form: [field] } }),
      false,
    ],
    ['not where it allows another kind', body({ body: { json: [bcc] } }), body({ body: { form: [field] } }), false],
    ['of the same tools', body({ mcp: { tools: ['a'] } }), body({ mcp: { tools: ['a'] } }), true],
    ['not of other tools', body({ mcp: { tools: ['a'] } }), body({ mcp: { tools: ['a', 'b'] } }), false],
  ])('%s', (_, outer, inner, expected) => {
    expect(demandsNoMore(compile(outer), compile(inner))).toBe(expected)
  })
})

describe('a rule with one of its values alone', () => {
  const rule = compile(
    allow(
      { hosts: ['a.example.com', 'b.example.com'], methods: ['GET', 'PUT'], paths: ['/a'] },
      { clients: ['a', 'b'] },
    ),
  )
  it.each<[Dimension, number, boolean]>([
    ['hosts', 0, true],
    ['methods', 1, true],
    ['clients', 1, true],
    ['methods', 2, false],
    ['paths', 0, false],
  ])('of %s, number %i', (dimension, index, exists) => {
    const alone = narrowed(rule, dimension, index)
    expect(alone !== null).toBe(exists)
    if (alone === null) return
    expect([...(alone[dimension] ?? [])]).toEqual([[...(rule[dimension] ?? [])][index]])
    expect(covers(rule, alone)).toBe(true)
  })

  it('is none where it lists none', () => {
    expect(narrowed(compile(allow({})), 'methods', 0)).toBeNull()
  })
})

// What is said of two rules is held against the judge itself.
const some = <T>(...values: readonly [T, ...T[]]): fc.Arbitrary<T[]> =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 2 })
const matches = fc.record(
  {
    hosts: some('x.example.com', '*.example.com', '**.example.com', 'example.com'),
    methods: some('GET', 'POST', 'TRACE'),
    paths: some('/a', '/a/*', '/a/**', '/**'),
    schemes: some('http' as const, 'https' as const),
    ports: some(443, 8443),
    upgrade: some('websocket'),
  },
  { requiredKeys: ['hosts'] },
) as fc.Arbitrary<MatchSpec>
const rules: fc.Arbitrary<RuleSpec> = fc
  .record({
    match: matches,
    clients: fc.constantFrom(null, ['a'], ['b'], ['a', 'b']),
    kind: fc.constantFrom('allow', 'allow', 'deny'),
    slash: fc.boolean(),
  })
  .map(({ match, clients, kind, slash }): RuleSpec => {
    const opened = slash && kind === 'allow' ? { ...match, encodedSlash: true } : match
    return { id: 'r', kind: kind as 'allow', match: opened, ...(clients === null ? {} : { clients }) }
  })
/** Pairs of rules that have some of their matchers in common, without which hardly one would cover the other. */
const pairs: fc.Arbitrary<readonly [RuleSpec, RuleSpec]> = fc
  .tuple(rules, rules, fc.subarray(['hosts', 'methods', 'paths', 'schemes', 'ports', 'upgrade'], { minLength: 3 }))
  .map(([one, other, shared]) => {
    const kept = Object.entries(other.match).filter(([key]) => !shared.includes(key))
    const taken = Object.entries(one.match).filter(([key]) => shared.includes(key))
    return [one, { ...other, match: Object.fromEntries([...kept, ...taken]) as unknown as MatchSpec }]
  })
const subjects: fc.Arbitrary<Subject> = fc.record({
  client: fc.constantFrom('a', 'b', 'anonymous'),
  scheme: fc.constantFrom('http', 'https'),
  method: fc.constantFrom('GET', 'POST', 'TRACE'),
  host: fc
    .constantFrom('example.com', 'x.example.com', 'y.x.example.com', 'z.example.com')
    .map((name) => parseHost(name) as Host),
  port: fc.constantFrom(80, 443, 8443),
  path: fc.constantFrom('/a', '/a/b', '/a/b%2Fc', '/'),
  encodedSlash: fc.constant(false),
  target: fc.constant('/'),
  upgrade: fc.constantFrom(null, 'websocket'),
  overrideHeaders: fc.constantFrom([], ['x-http-method-override']),
})

function policyOf(...specs: readonly RuleSpec[]): Policy {
  const clients = CLIENTS.map((name, index) => ({ name, source: [`10.0.0.${index + 1}`] }))
  const compiled = compilePolicy({ mode: 'enforce', clients, rules: specs })
  if (compiled.kind === 'bad') throw new Error(JSON.stringify(compiled.problems))
  return compiled.policy
}

/** What one rule does by itself: it permits, or it denies. */
function acts(spec: RuleSpec): (subject: Subject) => boolean {
  const policy = policyOf(spec)
  if (spec.kind === 'allow') return (subject) => decide(policy, subject).kind === 'permit'
  return (subject) => {
    const verdict = decide(policy, subject)
    return verdict.kind === 'denial' && verdict.reason === 'denied_by_rule'
  }
}

describe('held against the judge', () => {
  const asked = fc
    .array(subjects, { minLength: 30, maxLength: 30 })
    .map((all) => all.map((subject) => ({ ...subject, encodedSlash: subject.path.includes('%2F') })))

  it('a rule that covers another acts on all that it acts on', () => {
    const seen = { covered: 0, hit: 0 }
    fc.assert(
      fc.property(pairs, asked, ([outer, inner], all) => {
        // An allow rule grants nothing that a deny rule can be said to be covered by.
        if (outer.kind === 'allow' && inner.kind === 'deny') return
        if (!covers(compile(outer), compile(inner))) return
        seen.covered += 1
        const [wide, narrow] = [acts(outer), acts(inner)]
        for (const subject of all) {
          if (!narrow(subject)) continue
          seen.hit += 1
          expect({ subject, acts: wide(subject) }).toEqual({ subject, acts: true })
        }
      }),
      { numRuns: 6_000 },
    )
    expect(seen.covered).toBeGreaterThan(100)
    expect(seen.hit).toBeGreaterThan(100)
  })

  it('a rule that covers another and decides before it leaves it nothing', () => {
    let hit = 0
    fc.assert(
      fc.property(pairs, asked, ([one, other], all) => {
        const outer: RuleSpec = { ...one, id: 'outer' }
        const inner = { ...other, id: 'inner', kind: one.kind } as RuleSpec
        if (one.kind === 'deny' && inner.match.encodedSlash === true) return
        const [wide, narrow] = [compile(outer, 0), compile(inner, 1)]
        if (!covers(wide, narrow) || !precedes(wide, narrow)) return
        const policy = policyOf(outer, inner)
        for (const subject of all) {
          const verdict = decide(policy, subject)
          const rule = verdict.kind === 'permit' ? verdict.permit.rule : verdict.kind === 'denial' ? verdict.rule : null
          expect(rule).not.toBe('inner')
          if (rule === 'outer') hit += 1
        }
      }),
      { numRuns: 4_000 },
    )
    expect(hit).toBeGreaterThan(100)
  })
})
