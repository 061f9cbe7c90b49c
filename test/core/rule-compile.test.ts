import { describe, expect, it } from 'vitest'
import type { MatchSpec, RuleSpec, Subject } from '../../src/core/rule.ts'
import {
  type CompiledRule,
  compileRule,
  deniedReadings,
  deniesUpgrade,
  matchesMethod,
  matchesName,
  matchesPath,
  matchesRequest,
  restricts,
  serviceKeys,
} from '../../src/core/rule-compile.ts'

const spec = (kind: RuleSpec['kind'], match: Partial<MatchSpec>, more: Partial<RuleSpec> = {}): RuleSpec => ({
  id: 'r',
  kind,
  match: { hosts: ['example.com'], ...match },
  ...more,
})

function compile(rule: RuleSpec): { rule: CompiledRule; problems: readonly string[] } {
  const problems: string[] = []
  const compiled = compileRule(rule, 3, new Set(['c']), (at, message, fix) =>
    problems.push(`${at}: ${message}; ${fix}`),
  )
  return { rule: compiled, problems }
}

describe('a compiled rule', () => {
  it.each<[string, RuleSpec, 'http' | 'https', number, boolean]>([
    ['allow is https on 443', spec('allow', {}), 'https', 443, true],
    ['allow is not https elsewhere', spec('allow', {}), 'https', 8443, false],
    ['allow is not http', spec('allow', {}), 'http', 80, false],
    ['allow is not http on 443', spec('allow', {}), 'http', 443, false],
    ['schemes: [http] is http on 80', spec('allow', { schemes: ['http'] }), 'http', 80, true],
    ['schemes: [http] is not https', spec('allow', { schemes: ['http'] }), 'https', 443, false],
    ['both schemes have their own default port', spec('allow', { schemes: ['http', 'https'] }), 'http', 443, false],
    ['ports replace the default', spec('allow', { ports: [8443] }), 'https', 8443, true],
    ['ports do not add to the default', spec('allow', { ports: [8443] }), 'https', 443, false],
    ['ports open no other scheme', spec('allow', { ports: [8443] }), 'http', 8443, false],
    ['deny is everything', spec('deny', {}), 'http', 8080, true],
    ['deny by scheme is every port of it', spec('deny', { schemes: ['http'] }), 'http', 8080, true],
    ['deny by scheme is that scheme only', spec('deny', { schemes: ['http'] }), 'https', 8080, false],
    ['deny by port is every scheme', spec('deny', { ports: [25] }), 'http', 25, true],
    ['deny by port is that port only', spec('deny', { ports: [25] }), 'http', 26, false],
    ['passthrough is https on 443', spec('passthrough', {}), 'https', 443, true],
    ['passthrough is not http', spec('passthrough', {}), 'http', 80, false],
  ])('%s', (_, rule, scheme, port, expected) => {
    expect(matchesName(compile(rule).rule, 'c', serviceKeys(scheme, port))).toBe(expected)
  })

  it('is for its clients, and for every client where it names none', () => {
    const keys = serviceKeys('https', 443)
    const { rule } = compile(spec('allow', {}, { clients: ['c'] }))
    expect([matchesName(rule, 'c', keys), matchesName(rule, 'd', keys)]).toEqual([true, false])
    expect(matchesName(compile(spec('allow', {})).rule, 'd', keys)).toBe(true)
  })

  it.each<[string, RuleSpec, boolean]>([
    ['an allow rule without methods', spec('allow', {}), false],
    ['an allow rule that names it', spec('allow', { methods: ['TRACE'] }), true],
    ['a deny rule without methods', spec('deny', {}), true],
  ])('matches TRACE, which echoes credentials, only where it is named or denied: %s', (_, written, expected) => {
    expect(matchesMethod(compile(written).rule, 'TRACE')).toBe(expected)
  })

  it('has the methods of access: read-only', () => {
    const { rule } = compile(spec('allow', { access: 'read-only' }))
    expect(['GET', 'HEAD', 'OPTIONS', 'POST', 'get'].map((method) => matchesMethod(rule, method))).toEqual([
      true,
      true,
      true,
      false,
      false,
    ])
    expect(matchesMethod(compile(spec('allow', {})).rule, 'BREW')).toBe(true)
  })

  it('matches any one of its paths, and every path where it names none', () => {
    const { rule } = compile(spec('allow', { paths: ['/a', '/b/**'] }))
    expect(['/a', '/b/c', '/c'].map((path) => matchesPath(rule, path))).toEqual([true, true, false])
    expect(matchesPath(compile(spec('allow', {})).rule, '*')).toBe(true)
  })

  it('does not match what is taken out of its paths', () => {
    const { rule } = compile(spec('allow', { paths: ['/a/*', '/b/*'], notPaths: ['/a/x', '/a/*.json'] }))
    const paths = ['/a/y', '/a/x', '/a/x.json', '/b/x', '/c/x']
    expect(paths.filter((path) => matchesPath(rule, path))).toEqual(['/a/y', '/b/x'])
  })

  it('restricts when it looks at method or path', () => {
    expect(restricts(compile(spec('allow', {})).rule)).toBe(false)
    expect(restricts(compile(spec('allow', { methods: ['GET'] })).rule)).toBe(true)
    expect(restricts(compile(spec('allow', { paths: ['/**'] })).rule)).toBe(true)
  })

  it('matches a request when name, method and path do', () => {
    const { rule } = compile(spec('allow', { methods: ['GET'], paths: ['/a'] }))
    const request = (method: string, path: string, port: number): boolean =>
      matchesRequest(rule, { client: 'c', method } as Subject, serviceKeys('https', port), path)
    expect([
      request('GET', '/a', 443),
      request('PUT', '/a', 443),
      request('GET', '/b', 443),
      request('GET', '/a', 1),
    ]).toEqual([true, false, false, false])
  })

  it('keeps its place, its upgrades and its conditions', () => {
    const { rule, problems } = compile(
      spec('allow', { upgrade: ['websocket'] }, { body: { json: [{ path: '$.a', must: 'be-absent' }] } }),
    )
    expect(problems).toEqual([])
    expect(rule).toMatchObject({
      order: 3,
      upgrades: new Set(['websocket']),
      inspection: { conditions: [{ text: '$.a must be-absent' }] },
    })
  })

  it.each<[string, RuleSpec, RegExp]>([
    [
      'a bad host',
      spec('allow', { hosts: ['ok.example', 'Bad.example'] }),
      /^allow\.hosts\[1\]: .*write bad\.example$/,
    ],
    ['a wildcard over a public suffix', spec('passthrough', { hosts: ['*.com'] }), /^passthrough\.hosts\[0\]: /],
    ['a path without a slash', spec('allow', { paths: ['/a', 'b'] }), /^allow\.paths\[1\]: .*write \/b$/],
    ['a path with dot segments', spec('allow', { paths: ['/a/../b'] }), /dot segment/],
    ['a glob with dot segments', spec('allow', { paths: ['/a/**/../b'] }), /dot segment/],
    ['a path with an empty segment', spec('allow', { paths: ['/a//b'] }), /empty segment/],
    ['a path in another spelling', spec('deny', { paths: ['/secre%74'] }), /^deny\.paths\[0\]: .*write \/secret$/],
    ['a path with a query', spec('allow', { paths: ['/a?b=*'] }), /without the query; write \/a$/],
    ['a path with a fragment', spec('allow', { paths: ['/a#b'] }), /fragment/],
    ['half an escape', spec('allow', { paths: ['/a%2*'] }), /two hex digits/],
    ['three stars', spec('allow', { paths: ['/a/***'] }), /three stars/],
    ['a path without an end', spec('allow', { paths: [`/${'a'.repeat(1024)}`] }), /too long/],
    ['%2F where it is refused', spec('allow', { paths: ['/pkg/@a%2Fb'] }), /encoded_slash/],
    [
      'a bad condition',
      spec('allow', {}, { body: { json: [{ path: '$..a', must: 'be-absent' }] } }),
      /^body\.json\[0\]: /,
    ],
    ['what checkRule finds', spec('allow', {}, { clients: ['x'] }), /^clients\[0\]: /],
  ])('is not made without a word from %s', (_, rule, problem) => {
    expect(compile(rule).problems).toEqual([expect.stringMatching(problem)])
  })

  it.each<[string, RuleSpec]>([
    ['%2F in an allow rule that opens it', spec('allow', { paths: ['/pkg/@a%2Fb'], encodedSlash: true })],
    ['%2F in a deny rule', spec('deny', { paths: ['/pkg/@a%2Fb'] })],
  ])('may have %s', (_, rule) => {
    expect(compile(rule).problems).toEqual([])
  })
})

describe('a deny rule', () => {
  it.each<[string, boolean, readonly string[]]>([
    ['/a/b', false, ['/a/b']],
    ['/a%2Fb%2Fc', true, ['/a%2Fb%2Fc', '/a/b/c']],
  ])('reads %s in each way it may be read', (path, encodedSlash, readings) => {
    expect(deniedReadings({ path, encodedSlash } as Subject)).toEqual(readings)
  })

  it.each<[string, readonly string[] | undefined, string | null, boolean]>([
    ['without upgrades is for requests with one', undefined, 'websocket', true],
    ['without upgrades is for requests without', undefined, null, true],
    ['with upgrades is for those', ['websocket'], 'websocket', true],
    ['with upgrades is not for others', ['websocket'], 'h2c', false],
    ['with upgrades is not for requests without', ['websocket'], null, false],
  ])('%s', (_, upgrade, asked, expected) => {
    const { rule } = compile(spec('deny', upgrade === undefined ? {} : { upgrade }))
    expect(deniesUpgrade(rule, asked)).toBe(expected)
  })
})
