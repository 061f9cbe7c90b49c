// What holds for every policy and request: fewer permissions and more conditions never allow more, spelling and order never count.

import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Authority, parseAuthority } from '../../src/core/address.ts'
import { judgeBody } from '../../src/core/body-judgement.ts'
import { frameRequest } from '../../src/core/framing.ts'
import type { RequestHead } from '../../src/core/http1.ts'
import { readHttp2Request } from '../../src/core/http2-message.ts'
import { parseOriginForm } from '../../src/core/path.ts'
import { compilePolicy, couldAllow, decide, type Policy } from '../../src/core/policy.ts'
import type { BodyCondition, RuleSpec, Subject, Verdict } from '../../src/core/rule.ts'
import { type ConnectionNames, readSubject } from '../../src/core/subject.ts'

const RUNS = 600
/** Each outcome comes up in at least so many runs of a hundred, or a property would say next to nothing. */
const LEAST_PERCENT = 2

const HOSTS = ['a.test', 'api.a.test', 'b.a.test', 'x.b.a.test'] as const
const PATTERNS = [...HOSTS, '*.a.test', '**.a.test', '**.b.a.test'] as const
const PATHS = ['/', '/a', '/a/b~1', '/v1.0/%C3%A9', '/a/b%20c', '/a/%7Bid%7D', '/a%2Fb', '/A-_'] as const
const GLOBS = ['/**', '/a', '/a/*', '/a/**', '/*/%C3%A9', '/v1.*/**', '/a/b%20*'] as const
const CLIENTS = ['github', 'mail', 'anonymous'] as const

const CONDITIONS: readonly BodyCondition[] = [
  { path: '$.a', must: 'be-present' },
  { path: '$.b', must: 'be-absent' },
  { path: '$.a', must: 'match', value: 'x*' },
  { path: '$.a', must: 'be-of-type', value: 'string' },
]
const BODIES = ['{}', '{"a":"x1"}', '{"a":"x1","b":null}', '{"a":7}', '{"a":"x1","a":"x1"}', '[', ''] as const

const some = <T>(values: readonly T[], most = 3): fc.Arbitrary<T[]> =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: most })
const sometimes = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(arbitrary, { freq: 2 })

interface Drawn {
  readonly denies: boolean
  readonly hosts: string[]
  readonly methods: string[] | null
  readonly paths: string[] | null
  readonly schemes: ('http' | 'https')[]
  readonly anyPort: boolean
  readonly clients: string[] | null
  readonly conditions: BodyCondition[] | null
  readonly encodedSlash: boolean
}

const drawn: fc.Arbitrary<Drawn> = fc.record({
  denies: fc.integer({ max: 3, min: 0 }).map((pick) => pick === 0),
  hosts: some(PATTERNS),
  methods: sometimes(some(['GET', 'POST'])),
  paths: sometimes(some(GLOBS)),
  schemes: some(['http', 'https'] as const),
  anyPort: fc.boolean(),
  clients: sometimes(some(CLIENTS)),
  conditions: sometimes(some(CONDITIONS)),
  encodedSlash: fc.boolean(),
})

function ruleOf(from: Drawn, index: number): RuleSpec {
  const { denies, hosts, methods, paths, schemes, anyPort, clients, conditions, encodedSlash } = from
  const match = {
    hosts,
    schemes,
    ...(anyPort && { ports: [80, 443, 8443] }),
    ...(methods !== null && { methods }),
    ...(paths !== null && { paths }),
  }
  const about = { id: `rule-${index}`, ...(clients !== null && { clients }) }
  // A deny rule that names a method of its own leaves something to allow.
  if (denies) return { ...about, kind: 'deny', match: { ...match, methods: methods ?? ['POST'] } }
  const body = conditions === null ? {} : { body: { json: conditions } }
  return { ...about, kind: 'allow', match: { ...match, ...(encodedSlash && { encodedSlash }) }, ...body }
}

const rules = fc.array(drawn, { minLength: 1, maxLength: 12, size: 'max' }).map((list) => list.map(ruleOf))

/** One request, before anybody has spelled it. */
interface Request {
  readonly scheme: 'http' | 'https'
  readonly method: string
  readonly host: string
  readonly port: number | null
  readonly path: string
  readonly client: string
  readonly overriding: boolean
}

const request: fc.Arbitrary<Request> = fc.record({
  scheme: fc.constantFrom('http', 'https'),
  method: fc.constantFrom('GET', 'POST'),
  host: fc.constantFrom(...HOSTS),
  port: fc.constantFrom(null, null, null, 8443),
  path: fc.constantFrom(...PATHS),
  client: fc.constantFrom(...CLIENTS),
  overriding: fc.integer({ min: 0, max: 7 }).map((pick) => pick === 0),
})

function policyOf(list: readonly RuleSpec[]): Policy {
  const clients = [
    { name: 'github', token: 'g' },
    { name: 'mail', token: 'm' },
  ]
  const compiled = compilePolicy({ mode: 'enforce', clients, rules: list })
  if (compiled.kind === 'bad') throw new Error(JSON.stringify(compiled.problems))
  return compiled.policy
}

const defaultPort = (scheme: 'http' | 'https'): number => (scheme === 'https' ? 443 : 80)

function authorityOf({ host, port, scheme }: Request): Authority {
  const authority = parseAuthority(port === null ? host : `${host}:${port}`, defaultPort(scheme))
  if (authority === null) throw new Error(`the test itself is wrong: ${host}`)
  return authority
}

function subjectOf(one: Request): Subject {
  const parsed = parseOriginForm(one.path)
  if (parsed.kind === 'bad') throw new Error(`the test itself is wrong: ${one.path}`)
  const { path, encodedSlash, target } = parsed
  const overrideHeaders = one.overriding ? ['x-http-method-override'] : []
  const { client, scheme, method } = one
  return { client, scheme, method, ...authorityOf(one), path, encodedSlash, target, upgrade: null, overrideHeaders }
}

/** Whether a request with this JSON body would leave. */
function allowed(list: readonly RuleSpec[], one: Request, body: string): boolean {
  const policy = policyOf(list)
  const subject = subjectOf(one)
  const verdict = decide(policy, subject)
  if (verdict.kind !== 'needs-body') return verdict.kind === 'permit'
  const bytes = Buffer.from(body)
  const inspected = { bytes, complete: true, contentType: 'application/json', undecodable: null }
  return judgeBody(policy, subject, verdict, inspected, { knows: () => true }).verdict.kind === 'permit'
}

/** How often each answer came up. */
class Tally {
  readonly #counts = new Map<string, number>()

  add(outcome: string): void {
    this.#counts.set(outcome, (this.#counts.get(outcome) ?? 0) + 1)
  }

  /** Those that came up often enough for a property to be about them. */
  frequent(): string[] {
    const least = [...this.#counts.values()].reduce((sum, count) => sum + count, 0) * (LEAST_PERCENT / 100)
    return [...this.#counts].flatMap(([outcome, count]) => (count >= least ? [outcome] : []))
  }
}

/** Fails where `tighter` allows what `loose` did not; answers what came up often. */
function neverMore(change: fc.Arbitrary<{ readonly loose: RuleSpec[]; readonly tighter: RuleSpec[] }>): string[] {
  const tally = new Tally()
  fc.assert(
    fc.property(change, request, fc.constantFrom(...BODIES), ({ loose, tighter }, one, body) => {
      const before = allowed(loose, one, body)
      const after = allowed(tighter, one, body)
      tally.add(before ? (after ? 'allowed by both' : 'allowed no more') : 'denied by both')
      expect(after && !before).toBe(false)
      const name = { ...authorityOf(one), client: one.client, scheme: one.scheme }
      const reachable = couldAllow(policyOf(tighter), name)
      expect(reachable && !couldAllow(policyOf(loose), name)).toBe(false)
      expect(after && !reachable).toBe(false)
    }),
    { numRuns: RUNS },
  )
  return tally.frequent().sort()
}

const ALL_THREE = ['allowed by both', 'allowed no more', 'denied by both']

const without = <T>(list: readonly T[], gone: T): T[] => list.filter((one) => one !== gone)

describe('a policy that', () => {
  it('lost an allow rule allows nothing more', () => {
    const open = drawn.map((from) => ({ ...from, denies: false, paths: null, methods: null, conditions: null }))
    // The rule that goes is a wide one, or it would seldom have been what allowed.
    const often = neverMore(
      fc.tuple(fc.array(drawn, { maxLength: 5 }), open, fc.nat()).map(([others, wide, place]) => {
        const at = place % (others.length + 1)
        const loose = [...others.slice(0, at), { ...wide, hosts: ['**.a.test'] }, ...others.slice(at)].map(ruleOf)
        return { loose, tighter: without(loose, loose[at]) as RuleSpec[] }
      }),
    )
    expect(often).toEqual(ALL_THREE)
  })

  it('has one more deny rule allows nothing more', () => {
    const often = neverMore(
      fc.tuple(rules, drawn, fc.nat()).map(([loose, from, place]) => {
        const more = { ...ruleOf({ ...from, denies: true, clients: null }, 99) }
        const at = place % (loose.length + 1)
        return { loose, tighter: [...loose.slice(0, at), more, ...loose.slice(at)] }
      }),
    )
    expect(often).toEqual(ALL_THREE)
  })

  it('asks one more thing of JSON in one of its rules allows nothing more', () => {
    const often = neverMore(
      fc
        .tuple(fc.array(drawn, { minLength: 1, maxLength: 4 }), some(CONDITIONS), fc.nat())
        .map(([list, more, pick]) => {
          const loose = list.map((from) => ({ ...from, denies: false })).map(ruleOf)
          const asked = loose[pick % loose.length] as RuleSpec
          const json = [...(asked.body?.json ?? []), ...more]
          return { loose, tighter: loose.map((rule) => (rule === asked ? { ...rule, body: { json } } : rule)) }
        }),
    )
    expect(often).toEqual(ALL_THREE)
  })

  it('asks something of forms too allows forms: a list for one kind of body opens that kind, and no other', () => {
    const rule = (body: RuleSpec['body']): RuleSpec[] => [
      { id: 'rule', kind: 'allow', match: { hosts: ['a.test'] }, ...(body === undefined ? {} : { body }) },
    ]
    const json: BodyCondition[] = [{ path: '$.b', must: 'be-absent' }]
    const form: BodyCondition[] = [{ in: 'form', path: 'b', must: 'be-absent' }]
    const sends = (list: RuleSpec[], contentType: string, text: string): boolean => {
      const policy = policyOf(list)
      const subject = subjectOf({ ...PLAIN, method: 'POST' })
      const verdict = decide(policy, subject)
      if (verdict.kind !== 'needs-body') return verdict.kind === 'permit'
      const inspected = { bytes: Buffer.from(text), complete: true, contentType, undecodable: null }
      return judgeBody(policy, subject, verdict, inspected, { knows: () => true }).verdict.kind === 'permit'
    }
    const FORM = 'application/x-www-form-urlencoded'
    expect([undefined, { json }, { json, form }].map((body) => sends(rule(body), FORM, 'a=1'))).toEqual([
      true,
      false,
      true,
    ])
    expect([{ json }, { json, form }].map((body) => sends(rule(body), 'application/json', '{"b":1}'))).toEqual([
      false,
      false,
    ])
  })

  it('has its rules in another order allows and denies the same', () => {
    const tally = new Tally()
    const shuffled = rules.chain((list) =>
      fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length })),
    )
    const reasonOf = (verdict: Verdict): string => (verdict.kind === 'denial' ? verdict.reason : verdict.kind)
    fc.assert(
      fc.property(shuffled, request, fc.constantFrom(...BODIES), ([list, other], one, body) => {
        const before = allowed(list, one, body)
        expect(allowed(other, one, body)).toBe(before)
        const reason = reasonOf(decide(policyOf(list), subjectOf(one)))
        expect(reasonOf(decide(policyOf(other), subjectOf(one)))).toBe(reason)
        tally.add(before ? 'allowed' : reason)
      }),
      { numRuns: RUNS },
    )
    const often = ['allowed', 'denied_by_rule', 'no_matching_rule', 'needs-body']
    expect(tally.frequent()).toEqual(expect.arrayContaining(often))
  })
})

const PLAIN: Request = {
  scheme: 'https',
  method: 'GET',
  host: 'a.test',
  port: null,
  path: '/',
  client: 'github',
  overriding: false,
}

/** A run of choices, so that one request can be spelled as it comes. */
type Coin = () => boolean
const coins: fc.Arbitrary<Coin> = fc.infiniteStream(fc.boolean()).map((flips) => () => flips.next().value === true)

const ESCAPED_OR_RAW: ReadonlyMap<string, string> = new Map([
  ['%7B', '{'],
  ['%7D', '}'],
])

function spelledPath(path: string, coin: Coin): string {
  return path.replaceAll(/%[0-9A-F]{2}|[A-Za-z0-9._~-]/g, (piece) => {
    if (coin()) return piece
    if (!piece.startsWith('%')) {
      const hex = piece.charCodeAt(0).toString(16)
      return `%${coin() ? hex : hex.toUpperCase()}`
    }
    return coin() ? piece.toLowerCase() : (ESCAPED_OR_RAW.get(piece) ?? piece)
  })
}

function spelledHost(host: string, coin: Coin): string {
  const cased = Array.from(host, (letter) => (coin() ? letter : letter.toUpperCase())).join('')
  return coin() ? cased : `${cased}.`
}

function spelledAuthority({ host, port, scheme }: Request, coin: Coin): string {
  const name = spelledHost(host, coin)
  if (port !== null) return `${name}:${port}`
  return coin() ? name : `${name}:${defaultPort(scheme)}`
}

type Form = 'origin' | 'absolute in a tunnel' | 'absolute to the proxy' | 'without a name of the connection' | 'h2'

/** What the corridor makes of the request in this form and spelling. */
function read(one: Request, form: Form, coin: Coin): Subject {
  const { scheme, method, client, overriding } = one
  const authority = spelledAuthority(one, coin)
  const path = spelledPath(one.path, coin)
  const url = `${coin() ? scheme : scheme.toUpperCase()}://${spelledAuthority(one, coin)}${path}`
  const override = overriding ? [coin() ? 'X-HTTP-Method-Override' : 'x_http_method_override', 'GET'] : []
  const expected = authorityOf(one)
  const names: Record<Form, ConnectionNames> = {
    origin: { scheme, expected, port: null, absolute: false },
    'absolute in a tunnel': { scheme, expected, port: null, absolute: false },
    'absolute to the proxy': { scheme, expected: null, port: null, absolute: true },
    'without a name of the connection': { scheme, expected: null, port: expected.port, absolute: false },
    h2: { scheme, expected, port: null, absolute: false },
  }
  const target = form.startsWith('absolute') ? url : path
  let head: RequestHead = {
    method,
    target,
    version: '1.1',
    headers: [coin() ? 'Host' : 'hOSt', authority, ...override],
  }
  let framing = frameRequest(head)
  if (form === 'h2') {
    const named = coin() ? [':authority', authority] : []
    // Either is enough, and both may stand there, each in a spelling of its own.
    const host = named.length === 0 || coin() ? ['host', spelledAuthority(one, coin)] : []
    const pseudo = [':method', method, ':scheme', 'https', ...named, ':path', path]
    const block = [...pseudo, ...host, ...override.map((text) => text.toLowerCase())]
    const parsed = readHttp2Request(block, true)
    if (parsed.kind === 'bad') throw new Error(`${parsed.code}: ${block.join(' ')}`)
    ;({ head, framing } = parsed)
  }
  const result = readSubject(names[form], head, framing)
  if (result.kind === 'refused') throw new Error(`${result.reason} ${result.why}: ${head.target} of ${authority}`)
  return { ...result.subject, client }
}

/** All of the answer but the bytes to send, which are the client's own. */
function answer(verdict: Verdict): unknown {
  if (verdict.kind === 'denial') return verdict
  if (verdict.kind === 'permit') return { ...verdict.permit, target: null }
  return verdict.candidates.map(({ permit, ...candidate }) => ({ ...candidate, permit: { ...permit, target: null } }))
}

describe('one request', () => {
  const HTTP_FORMS: readonly Form[] = [
    'origin',
    'absolute in a tunnel',
    'absolute to the proxy',
    'without a name of the connection',
  ]

  it('has one answer, in whatever case, escapes, port and form it is written', () => {
    const tally = new Tally()
    fc.assert(
      fc.property(rules, request, coins, (list, one, coin) => {
        const policy = policyOf(list)
        const verdict = decide(policy, subjectOf(one))
        tally.add(verdict.kind)
        const forms = one.scheme === 'https' ? [...HTTP_FORMS, 'h2' as const] : HTTP_FORMS
        for (const form of forms) {
          expect([form, answer(decide(policy, read(one, form, coin)))]).toEqual([form, answer(verdict)])
        }
      }),
      { numRuns: RUNS },
    )
    expect(tally.frequent().sort()).toEqual(['denial', 'needs-body', 'permit'])
  })

  it('is spelled in many ways by this test', () => {
    const one = { ...PLAIN, host: 'api.a.test', path: '/a/%7Bid%7D' } as const
    const paths = new Set<string>()
    const hosts = new Set<string>()
    fc.assert(
      fc.property(coins, (coin) => {
        paths.add(spelledPath(one.path, coin))
        hosts.add(spelledAuthority(one, coin))
      }),
      { numRuns: RUNS },
    )
    expect(paths.size).toBeGreaterThan(50)
    expect(hosts.size).toBeGreaterThan(100)
    expect([...paths].join(' ')).toMatch(/%7bid.*\{|\{.*%7bid/s)
    expect([...hosts].some((host) => host.endsWith('.:443'))).toBe(true)
  })
})
