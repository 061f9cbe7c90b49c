import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Host, parseHost } from '../../src/core/address.ts'
import type { MatchSpec, RuleSpec, Subject } from '../../src/core/rule.ts'
import {
  type CompiledRule,
  compileRule,
  matchesName,
  matchesRequest,
  serviceKeys,
} from '../../src/core/rule-compile.ts'
import { buildIndex, firstRule, nodesFor, type Query, type RuleIndex, someRule } from '../../src/core/rule-index.ts'

const CLIENTS = new Set(['a', 'b', ...Array.from({ length: 10_000 }, (_, index) => `client-${index}`)])

function compile(specs: readonly (Partial<MatchSpec> & { readonly clients?: readonly string[] })[]): CompiledRule[] {
  return specs.map(({ clients, ...match }, order) => {
    const spec = { id: `rule-${order}`, kind: 'deny', match: { hosts: ['x.test'], ...match } } as const
    return compileRule(clients === undefined ? spec : { ...spec, clients }, order, CLIENTS, (at, message) => {
      throw new Error(`${at}: ${message}`)
    })
  })
}

interface Ask {
  readonly host: string
  readonly client?: string
  readonly method?: string
  readonly path?: string
  readonly port?: number
}

const host = (text: string): Host => parseHost(text) as Host

/** The first rule by the index, with how many rules it took to find it. */
function look(index: RuleIndex, ask: Ask): { readonly id: string | null; readonly tested: number } {
  const { client = 'a', method = 'GET', path = '/', port = 443 } = ask
  const services = serviceKeys('https', port)
  const query: Query = { client: [client], service: services, path, method: [method] }
  let tested = 0
  for (const node of nodesFor(index, host(ask.host))) {
    const rule = firstRule(node, query, (candidate) => {
      tested += 1
      return matchesRequest(candidate, { client, method } as Subject, services, path)
    })
    if (rule !== null) return { id: rule.id, tested }
  }
  return { id: null, tested }
}

describe('the index by host', () => {
  const index = buildIndex(
    compile([
      { hosts: ['*'] },
      { hosts: ['**.x.test', '**.b.test'] },
      { hosts: ['*.x.test'] },
      { hosts: ['a.x.test', 'a.x.test'] },
      { hosts: ['**.a.x.test'] },
      { hosts: ['203.0.113.7', '[2001:db8::1]'] },
    ]),
  )
  it.each([
    ['the name itself first', 'a.x.test', ['rule-3', 'rule-4', 'rule-2', 'rule-1', 'rule-0']],
    ['the apex of ** [D23]', 'x.test', ['rule-1', 'rule-0']],
    ['one label more', 'c.x.test', ['rule-2', 'rule-1', 'rule-0']],
    ['two labels more [D23]', 'd.c.x.test', ['rule-1', 'rule-0']],
    ['a name that only ends alike [D23]', 'evil-x.test', ['rule-0']],
    ['a name that only begins alike [D23]', 'a.x.test.evil.example', ['rule-0']],
    ['a name of one label', 'test', ['rule-0']],
    ['an IPv4 address', '203.0.113.7', ['rule-5', 'rule-0']],
    ['an IPv6 address', '[2001:db8::1]', ['rule-5', 'rule-0']],
    ['an address of nobody', '203.0.113.8', ['rule-0']],
  ])('%s', (_, name, ids) => {
    const open: Query = { client: null, service: null, path: null, method: null }
    const found: string[] = []
    for (const node of nodesFor(index, host(name))) someRule(node, open, ({ id }) => found.push(id) === 0)
    expect(found).toEqual(ids)
  })

  it('looks no deeper than its patterns go', () => {
    const long = `${'a.'.repeat(120)}b.test`
    expect(nodesFor(index, host(long))).toHaveLength(2)
  })
})

describe('10,000 rules are not 10,000 comparisons', () => {
  const many = (make: (index: number) => Partial<MatchSpec> & { readonly clients?: readonly string[] }): RuleIndex =>
    buildIndex(compile(Array.from({ length: 10_000 }, (_, index) => make(index))))

  it.each<[string, RuleIndex, Ask, string]>([
    ['for as many hosts', many((n) => ({ hosts: [`h${n}.test`] })), { host: 'h77.test' }, 'rule-77'],
    ['for as many wildcards', many((n) => ({ hosts: [`*.h${n}.test`] })), { host: 'a.h77.test' }, 'rule-77'],
    ['for as many deep wildcards', many((n) => ({ hosts: [`**.h${n}.test`] })), { host: 'a.b.h77.test' }, 'rule-77'],
    [
      'for as many paths of one host',
      many((n) => ({ paths: [`/p/${n}`] })),
      { host: 'x.test', path: '/p/77' },
      'rule-77',
    ],
    ['for as many folders', many((n) => ({ paths: [`/p/${n}/**`] })), { host: 'x.test', path: '/p/77/a' }, 'rule-77'],
    [
      'for as many paths behind a *',
      many((n) => ({ paths: [`/users/*/r${n}/*`] })),
      { host: 'x.test', path: '/users/u/r77/a' },
      'rule-77',
    ],
    [
      'for as many last segments',
      many((n) => ({ paths: [`/a/**/r${n}`] })),
      { host: 'x.test', path: '/a/b/c/r77' },
      'rule-77',
    ],
    [
      'for as many segments before the last',
      many((n) => ({ paths: [`/**/r${n}/end`] })),
      { host: 'x.test', path: '/a/b/r77/end' },
      'rule-77',
    ],
    [
      'for as many beginnings of a segment',
      many((n) => ({ paths: [`/r${n}-*`] })),
      { host: 'x.test', path: '/r77-a' },
      'rule-77',
    ],
    [
      'for as many clients',
      many((n) => ({ clients: [`client-${n}`] })),
      { host: 'x.test', client: 'client-77' },
      'rule-77',
    ],
    ['for as many ports', many((n) => ({ ports: [n + 1] })), { host: 'x.test', port: 78 }, 'rule-77'],
    ['for as many methods', many((n) => ({ methods: [`M${n}`] })), { host: 'x.test', method: 'M77' }, 'rule-77'],
    [
      'for as many methods of one path',
      many((n) => ({ methods: [`M${n}`], paths: ['/p'] })),
      { host: 'x.test', method: 'M77', path: '/p' },
      'rule-77',
    ],
    [
      'with more clients each than can be split by',
      many((n) => ({ clients: Array.from({ length: 20 }, (_, c) => `client-${c}`), paths: [`/p/${n}`] })),
      { host: 'x.test', client: 'client-3', path: '/p/77' },
      'rule-77',
    ],
  ])('%s', (_, index, ask, id) => {
    expect(look(index, ask)).toEqual({ id, tested: expect.any(Number) })
    expect(look(index, ask).tested).toBeLessThanOrEqual(8)
    const other = {
      ...ask,
      client: 'b',
      path: '/none/of/them',
      method: 'NONE',
      port: 60_000,
      host: `y.${ask.host}.test`,
    }
    expect(look(index, other)).toEqual({ id: null, tested: 0 })
  })
})

describe('rules that all say the same', () => {
  it('are one comparison', () => {
    const index = buildIndex(compile(Array.from({ length: 1000 }, () => ({ paths: ['/a', '/*', '/**'] }))))
    expect(look(index, { host: 'x.test', path: '/a' })).toEqual({ id: 'rule-0', tested: 1 })
  })
})

describe('the index agrees with looking at every rule', () => {
  const label = fc.constantFrom('a', 'b', 'x')
  const name = fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => `${labels.join('.')}.test`)
  const pattern = fc.oneof(
    fc.constant('*'),
    fc.tuple(fc.constantFrom('', '*.', '**.'), name).map(([stars, base]) => stars + base),
  )
  const segment = fc.constantFrom('a', 'b', 'c', 'ab', '*', 'a*', '**', '*b')
  const glob = fc.array(segment, { maxLength: 4 }).map((segments) => `/${segments.join('/')}`)
  const path = fc
    .array(fc.constantFrom('a', 'b', 'ab', 'c'), { maxLength: 5 })
    .map((segments) => `/${segments.join('/')}`)
  const spec = fc.record(
    {
      hosts: fc.array(pattern, { minLength: 1, maxLength: 2 }),
      methods: fc.uniqueArray(fc.constantFrom('GET', 'PUT', 'POST'), { minLength: 1, maxLength: 2 }),
      paths: fc.array(glob, { minLength: 1, maxLength: 3 }),
      ports: fc.uniqueArray(fc.constantFrom(80, 443), { minLength: 1 }),
      clients: fc.uniqueArray(fc.constantFrom('a', 'b'), { minLength: 1 }),
    },
    { requiredKeys: ['hosts'] },
  )
  const ask = fc.record({
    host: name,
    client: fc.constantFrom('a', 'b'),
    method: fc.constantFrom('GET', 'PUT', 'POST', 'PATCH'),
    path,
    port: fc.constantFrom(80, 443, 8443),
  })

  it('on the same first rule of the most specific host, and on whether a name is known', () => {
    const manyRules = fc.array(spec, { minLength: 1, maxLength: 60, size: 'max' })
    fc.assert(
      fc.property(manyRules, fc.array(ask, { minLength: 10, maxLength: 20 }), (specs, asks) => {
        const rules = compile(specs)
        const index = buildIndex(rules)
        for (const one of asks) {
          expect(look(index, one).id).toBe(slowly(rules, one))
          const services = serviceKeys('https', one.port)
          const query = { client: [one.client], service: services, path: null, method: null }
          const known = nodesFor(index, host(one.host)).some((node) =>
            someRule(node, query, (rule) => matchesName(rule, one.client, services)),
          )
          expect(known).toBe(rules.some((rule) => rank(rule, one.host) > 0 && matchesName(rule, one.client, services)))
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('a dimension that a query leaves open', () => {
  it.each([
    ['the method', { path: '/a', method: null }],
    ['the path', { path: null, method: ['M20'] }],
    ['the path and the method', { path: null, method: null }],
  ])('finds rules by every value of %s', (_, open) => {
    const rules = Array.from({ length: 21 }, (_unused, at) => ({ methods: [`M${at}`], paths: ['/a'] }))
    const index = buildIndex(compile(rules))
    const query = { client: ['a'], service: serviceKeys('https', 443), ...open }
    const [node] = nodesFor(index, host('x.test'))
    expect(node !== undefined && someRule(node, query, ({ id }) => id === 'rule-20')).toBe(true)
    expect(node !== undefined && someRule(node, query, ({ id }) => id === 'another')).toBe(false)
  })
})

function slowly(rules: readonly CompiledRule[], ask: Required<Ask>): string | null {
  const services = serviceKeys('https', ask.port)
  const subject = { client: ask.client, method: ask.method } as Subject
  const matching = rules.filter((rule) => rank(rule, ask.host) > 0 && matchesRequest(rule, subject, services, ask.path))
  const best = Math.max(...matching.map((rule) => rank(rule, ask.host)))
  return matching.find((rule) => rank(rule, ask.host) === best)?.id ?? null
}

/** 0: the rule does not name the host. More: how specific the best of its patterns is. */
function rank({ spec }: { readonly spec: RuleSpec }, name: string): number {
  const ranks = spec.match.hosts.map((pattern) => {
    if (pattern === '*') return 1
    if (pattern === name) return 10_000
    const base = pattern.slice(pattern.indexOf('.') + 1)
    if (pattern.startsWith('**.')) return name === base || name.endsWith(`.${base}`) ? 2 * base.length : 0
    return pattern.startsWith('*.') && name.slice(name.indexOf('.') + 1) === base ? 2 * base.length + 1 : 0
  })
  return Math.max(...ranks)
}
