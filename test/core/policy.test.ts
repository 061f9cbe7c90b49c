import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Host, parseHost } from '../../src/core/address.ts'
import { parseOriginForm } from '../../src/core/path.ts'
import {
  auditLevel,
  compilePolicy,
  couldAllow,
  couldAllowAny,
  decide,
  limitDenied,
  passthroughRule,
  permitPassthrough,
  type Policy,
} from '../../src/core/policy.ts'
import type {
  BodyCondition,
  ClientSpec,
  MatchSpec,
  NeedsBody,
  PolicySpec,
  RuleSpec,
  Subject,
  Verdict,
} from '../../src/core/rule.ts'

type Match = Partial<MatchSpec>
type More = Partial<Omit<RuleSpec, 'kind' | 'match'>>

const CLIENTS: readonly ClientSpec[] = [
  { name: 'github', token: 'g' },
  { name: 'mail', token: 'm' },
]
const rule = (kind: RuleSpec['kind'], match: Match, more: More = {}): RuleSpec => ({
  id: kind,
  kind,
  match: { hosts: ['api.example.com'], ...match },
  ...more,
})
const allow = (match: Match = {}, more: More = {}): RuleSpec => rule('allow', match, more)
const deny = (match: Match = {}, more: More = {}): RuleSpec => rule('deny', match, more)
const passthrough = (match: Match = {}, more: More = {}): RuleSpec => rule('passthrough', match, more)

function policyOf(rules: readonly RuleSpec[], mode: PolicySpec['mode'] = 'enforce'): Policy {
  const compiled = compilePolicy({ mode, clients: CLIENTS, rules })
  if (compiled.kind === 'bad') throw new Error(JSON.stringify(compiled.problems))
  return compiled.policy
}

/** `GET https://host[:port]/path` as what policy sees of it. */
function ask(line: string, changes: Partial<Subject> = {}): Subject {
  const [method = '', url = ''] = line.split(' ')
  const [, scheme, name, port, target = ''] = /^(https?):\/\/(\[[^\]]*\]|[^:/]*)(?::(\d+))?(.*)$/.exec(url) ?? []
  const parsed = parseOriginForm(target === '' ? '/' : target)
  const host = parseHost(name ?? '')
  if (parsed.kind === 'bad' || host === null) throw new Error(`the test itself is wrong: ${line}`)
  return {
    client: 'github',
    scheme: scheme as 'http' | 'https',
    method,
    host,
    port: port === undefined ? (scheme === 'https' ? 443 : 80) : Number(port),
    path: parsed.path,
    encodedSlash: parsed.encodedSlash,
    target: parsed.target,
    upgrade: null,
    overrideHeaders: [],
    ...changes,
  }
}

const outcome = (verdict: Verdict): string => {
  if (verdict.kind === 'permit') return `allow ${verdict.permit.rule}`
  return verdict.kind === 'denial' ? verdict.reason : 'needs-body'
}
const judged = (rules: readonly RuleSpec[], subject: Subject): string => outcome(decide(policyOf(rules), subject))

describe('what a rule matches', () => {
  const H = 'api.example.com'
  it.each<[string, RuleSpec, string, boolean]>([
    ['a host is that name', allow(), `GET https://${H}/`, true],
    ['a host is no name below it', allow(), `GET https://x.${H}/`, false],
    ['a host is not the name above it', allow(), 'GET https://example.com/', false],
    ['a host with one trailing dot is the same [D21]', allow(), `GET https://${H}./`, true],
    ['a host in upper case is the same', allow(), 'GET https://API.Example.COM/', true],
    ['*. is one label more', allow({ hosts: ['*.example.com'] }), `GET https://${H}/`, true],
    ['*. is not the apex [D23]', allow({ hosts: ['*.example.com'] }), 'GET https://example.com/', false],
    ['*. is not two labels more', allow({ hosts: ['*.example.com'] }), 'GET https://a.b.example.com/', false],
    ['*. is no suffix of text [D23]', allow({ hosts: ['*.example.com'] }), 'GET https://evil-example.com/', false],
    ['*. is no prefix [D23]', allow({ hosts: ['*.example.com'] }), 'GET https://a.example.com.evil.test/', false],
    ['**. is the apex', allow({ hosts: ['**.example.com'] }), 'GET https://example.com/', true],
    ['**. is any depth', allow({ hosts: ['**.example.com'] }), 'GET https://a.b.c.example.com/', true],
    ['**. is no suffix of text [D23]', allow({ hosts: ['**.example.com'] }), 'GET https://notexample.com/', false],
    ['an IPv4 address', allow({ hosts: ['203.0.113.7'] }), 'GET https://203.0.113.7/', true],
    ['an IPv6 address in any spelling', allow({ hosts: ['[2001:db8::1]'] }), 'GET https://[2001:DB8:0::1]/', true],
    ['another address', allow({ hosts: ['203.0.113.7'] }), 'GET https://203.0.113.8/', false],
    [
      'the A-label of a look-alike is another name [D24]',
      allow({ hosts: ['apple.com'] }),
      'GET https://xn--pple-43d.com/',
      false,
    ],
    ['an unlisted suffix', allow({ hosts: ['*.internal'] }), 'GET https://db.internal/', true],
    ['omitted methods are any', allow(), `BREW https://${H}/`, true],
    ['omitted paths are any', allow(), `GET https://${H}/a/b?c=d`, true],
    ['omitted schemes are https only', allow(), `GET http://${H}/`, false],
    ['omitted ports are the default', allow(), `GET https://${H}:8443/`, false],
    ['ports', allow({ ports: [8443] }), `GET https://${H}:8443/`, true],
    ['ports leave out the default', allow({ ports: [8443] }), `GET https://${H}/`, false],
    ['schemes: [http] is plain http', allow({ schemes: ['http'] }), `GET http://${H}/`, true],
    ['schemes: [http] is not https', allow({ schemes: ['http'] }), `GET https://${H}/`, false],
    ['methods are exact', allow({ methods: ['GET'] }), `POST https://${H}/`, false],
    ['methods are case-sensitive', allow({ methods: ['GET'] }), `get https://${H}/`, false],
    ['access: read-only has OPTIONS', allow({ access: 'read-only' }), `OPTIONS https://${H}/`, true],
    ['access: read-only has no POST', allow({ access: 'read-only' }), `POST https://${H}/`, false],
    ['a path', allow({ paths: ['/email'] }), `GET https://${H}/email`, true],
    ['a path without its query', allow({ paths: ['/email'] }), `GET https://${H}/email?a=/../b`, true],
    ['a path is case-sensitive [D12]', allow({ paths: ['/email'] }), `GET https://${H}/Email`, false],
    ['a path is not that with a slash [D17]', allow({ paths: ['/email'] }), `GET https://${H}/email/`, false],
    ['/a/** is all below [D17]', allow({ paths: ['/repo/**'] }), `GET https://${H}/repo/a/b`, true],
    ['/a/** is not /a [D17]', allow({ paths: ['/repo/**'] }), `GET https://${H}/repo`, false],
    ['/a/** is not /a-evil [D17]', allow({ paths: ['/repo/**'] }), `GET https://${H}/repo-evil/x`, false],
    ['escapes of unreserved characters are decoded', allow({ paths: ['/secret'] }), `GET https://${H}/secre%74`, true],
    ['hex case does not matter', allow({ paths: ['/a%3Ab'] }), `GET https://${H}/a%3ab`, true],
    ['clients', allow({}, { clients: ['mail'] }), `GET https://${H}/`, false],
    ['its client', allow({}, { clients: ['mail', 'github'] }), `GET https://${H}/`, true],
  ])('%s', (_, spec, line, matches) => {
    expect(judged([spec], ask(line))).toBe(matches ? 'allow allow' : 'no_matching_rule')
  })

  it.each<[string, RuleSpec, string, boolean]>([
    ['every port and scheme', deny(), `GET http://${H}:81/`, true],
    ['only its port', deny({ ports: [81] }), `GET http://${H}:82/`, false],
    ['only its scheme, on every port', deny({ schemes: ['http'] }), `GET http://${H}:82/`, true],
    ['only its method', deny({ methods: ['DELETE'] }), `GET http://${H}:82/`, false],
    ['only its client', deny({}, { clients: ['mail'] }), `GET http://${H}:82/`, false],
    ['every host', deny({ hosts: ['*'] }), `GET http://${H}:82/`, true],
    ['a public suffix', deny({ hosts: ['**.com'] }), `GET http://${H}:82/`, true],
  ])('a deny rule: %s', (_, spec, line, denied) => {
    const all = allow({ schemes: ['http', 'https'], ports: [81, 82] })
    expect(judged([all, spec], ask(line))).toBe(denied ? 'denied_by_rule' : 'allow allow')
  })

  it('nothing without rules [D30]', () => {
    expect(judged([], ask(`GET https://${H}/`))).toBe('no_matching_rule')
  })
})

describe('deny comes before allow [L06]', () => {
  it.each<[string, readonly RuleSpec[]]>([
    ['also a wide one before a narrow one', [allow({ paths: ['/a'] }), deny({ hosts: ['**.example.com'] })]],
    ['also when it stands first', [deny(), allow()]],
    ['also for every host', [allow(), deny({ hosts: ['*'], methods: ['GET'] })]],
  ])('%s', (_, rules) => {
    const verdict = decide(policyOf(rules), ask('GET https://api.example.com/a'))
    expect(verdict).toEqual({
      kind: 'denial',
      reason: 'denied_by_rule',
      rule: 'deny',
      hint: 'rule deny denies this',
      observed: null,
    })
  })

  it('names the deny rule with the most specific host', () => {
    const rules = [
      deny({ hosts: ['*'] }, { id: 'all' }),
      deny({ hosts: ['**.example.com'] }, { id: 'deep' }),
      deny({}, { id: 'one' }),
    ]
    expect(decide(policyOf(rules), ask('GET https://api.example.com/'))).toMatchObject({ rule: 'one' })
    expect(decide(policyOf(rules), ask('GET https://b.example.com/'))).toMatchObject({ rule: 'deep' })
  })

  it('also when %2F hides the path it names', () => {
    const rules = [allow({ encodedSlash: true }), deny({ paths: ['/admin/**'] })]
    expect(judged(rules, ask('GET https://api.example.com/admin%2Fusers'))).toBe('denied_by_rule')
    expect(judged(rules, ask('GET https://api.example.com/admin%2fusers'))).toBe('denied_by_rule')
    expect(judged(rules, ask('GET https://api.example.com/pkg/@a%2Fb'))).toBe('allow allow')
  })

  it('also when it names the path with %2F', () => {
    const rules = [allow({ encodedSlash: true }), deny({ paths: ['/pkg/@a%2F*'] })]
    expect(judged(rules, ask('GET https://api.example.com/pkg/@a%2Fb'))).toBe('denied_by_rule')
  })
})

describe('which allow rule it is', () => {
  const rules = [
    allow({ hosts: ['**.example.com'] }, { id: 'deep' }),
    allow({ hosts: ['*.example.com'] }, { id: 'wide' }),
    allow({}, { id: 'second' }),
    allow({}, { id: 'third' }),
    allow({ hosts: ['**.api.example.com'] }, { id: 'apex' }),
  ]
  it.each([
    ['the name itself, the first of the file', 'api.example.com', 'second'],
    ['one label more', 'b.example.com', 'wide'],
    ['any depth', 'example.com', 'deep'],
    ['the longer base', 'x.api.example.com', 'apex'],
  ])('%s', (_, host, id) => {
    expect(judged(rules, ask(`GET https://${host}/`))).toBe(`allow ${id}`)
  })

  it('the permit carries what was judged, and the rate and limits of the rule', () => {
    const rate = { requests: 60, per: 'minute', burst: 10 } as const
    const limits = { requestBytes: 1024, responseBytes: null }
    const verdict = decide(policyOf([allow({}, { rate, limits })]), ask('GET https://api.example.com/secre%74?q=1'))
    expect(verdict).toEqual({
      kind: 'permit',
      permit: {
        rule: 'allow',
        client: 'github',
        scheme: 'https',
        method: 'GET',
        host: { kind: 'name', text: 'api.example.com' },
        port: 443,
        target: '/secre%74?q=1',
        upgrade: null,
        rate,
        limits,
      },
    })
    expect(decide(policyOf([allow()]), ask('GET https://api.example.com/'))).toMatchObject({
      permit: { rate: null, limits: { requestBytes: null, responseBytes: null } },
    })
  })
})

describe('what a request carries beside', () => {
  const chat = allow({ paths: ['/socket'], upgrade: ['websocket'] }, { id: 'chat' })
  const packages = allow({ paths: ['/pkg/*'], encodedSlash: true }, { id: 'packages' })
  const line = 'GET https://api.example.com'
  const method = { overrideHeaders: ['x-http-method-override'] }
  it.each<[string, readonly RuleSpec[], Subject, string]>([
    ['an upgrade that the rule names', [chat], ask(`${line}/socket`, { upgrade: 'websocket' }), 'allow chat'],
    ['no upgrade where one may be', [chat], ask(`${line}/socket`), 'allow chat'],
    ['an upgrade that no rule names', [allow()], ask(`${line}/socket`, { upgrade: 'websocket' }), 'upgrade_denied'],
    ['another upgrade', [chat], ask(`${line}/socket`, { upgrade: 'h2c' }), 'upgrade_denied'],
    ['an upgrade on a path of no rule', [chat], ask(`${line}/other`, { upgrade: 'websocket' }), 'no_matching_rule'],
    [
      'an upgrade that another rule names',
      [allow(), chat],
      ask(`${line}/socket`, { upgrade: 'websocket' }),
      'allow chat',
    ],
    [
      'an upgrade that is denied',
      [chat, deny({ upgrade: ['websocket'] })],
      ask(`${line}/socket`, { upgrade: 'websocket' }),
      'denied_by_rule',
    ],
    ['no upgrade where one is denied', [chat, deny({ upgrade: ['websocket'] })], ask(`${line}/socket`), 'allow chat'],
    [
      'another upgrade than is denied',
      [chat, deny({ upgrade: ['h2c'] })],
      ask(`${line}/socket`, { upgrade: 'websocket' }),
      'allow chat',
    ],
    ['%2F that the rule takes', [packages], ask(`${line}/pkg/@a%2Fb`), 'allow packages'],
    ['%2F that no rule takes', [allow()], ask(`${line}/pkg/@a%2Fb`), 'path_not_canonical'],
    ['%2F on a path of no rule', [packages], ask(`${line}/other/a%2Fb`), 'no_matching_rule'],
    ['%2F that another rule takes', [allow(), packages], ask(`${line}/pkg/@a%2Fb`), 'allow packages'],
    [
      'an override where the rule looks at the method',
      [allow({ methods: ['GET'] })],
      ask(line, method),
      'override_header',
    ],
    ['an override where the rule looks at the path', [allow({ paths: ['/'] })], ask(line, method), 'override_header'],
    ['an override where the rule looks at neither', [allow()], ask(line, method), 'allow allow'],
    [
      'an override where one of two rules looks at neither',
      [allow({ methods: ['GET'] }, { id: 'get' }), allow()],
      ask(line, method),
      'allow allow',
    ],
    [
      'an override past a deny rule for another method',
      [allow(), deny({ methods: ['DELETE'] })],
      ask(line, method),
      'override_header',
    ],
    [
      'an override past a deny rule for another path',
      [allow(), deny({ paths: ['/admin'] })],
      ask(line, method),
      'override_header',
    ],
    [
      'an override past a deny rule for another client',
      [allow(), deny({ paths: ['/admin'] }, { clients: ['mail'] })],
      ask(line, method),
      'allow allow',
    ],
    [
      'an override past a deny rule for another host',
      [allow(), deny({ hosts: ['b.example.com'], paths: ['/admin'] })],
      ask(line, method),
      'allow allow',
    ],
    [
      'an override to a host of no rule',
      [allow({ hosts: ['b.example.com'] }), deny({ methods: ['DELETE'] })],
      ask(line, method),
      'no_matching_rule',
    ],
  ])('%s', (_, rules, subject, expected) => {
    expect(judged(rules, subject)).toBe(expected)
  })

  it('is named in the denial, with the rule where it is one that says no', () => {
    const overridden = decide(
      policyOf([allow({}, { id: 'a' }), deny({ methods: ['DELETE'] }, { id: 'd' })]),
      ask(line, method),
    )
    expect(overridden).toMatchObject({ rule: 'd', hint: expect.stringContaining('rule d looks at the method') })
    expect(decide(policyOf([allow({ methods: ['GET'] })]), ask(line, method))).toMatchObject({ rule: 'allow' })
    const upgrade = decide(policyOf([allow()]), ask(line, { upgrade: 'websocket' }))
    expect(upgrade).toMatchObject({ rule: null, hint: 'add websocket to the upgrade of rule allow' })
  })

  it.each<[string, readonly RuleSpec[]]>([
    [
      'in one order',
      [allow({}, { id: 'a' }), allow({ encodedSlash: true }, { id: 'b' }), allow({ encodedSlash: true }, { id: 'c' })],
    ],
    [
      'in the other',
      [allow({ encodedSlash: true }, { id: 'c' }), allow({ encodedSlash: true }, { id: 'b' }), allow({}, { id: 'a' })],
    ],
  ])('of several obstacles the worst is named, %s', (_, rules) => {
    expect(judged(rules, ask(`${line}/a%2Fb`, { upgrade: 'websocket' }))).toBe('path_not_canonical')
  })
})

describe('conditions on the body', () => {
  const noBcc: BodyCondition = { path: '$.Bcc', must: 'be-absent' }
  const fromUs: BodyCondition = { path: '$.From', must: 'match', value: '*@acme.example' }
  const mail = (id: string, json: readonly BodyCondition[], match: Match = {}): RuleSpec =>
    allow({ methods: ['POST'], paths: ['/email'], ...match }, { id, body: { json } })
  const post = ask('POST https://api.example.com/email')
  const needs = (policy: Policy): NeedsBody => {
    const verdict = decide(policy, post)
    if (verdict.kind !== 'needs-body') throw new Error(`decided without the body: ${outcome(verdict)}`)
    return verdict
  }

  it('are asked for when only rules with conditions match', () => {
    const verdict = needs(policyOf([mail('a', [noBcc]), mail('b', [fromUs], { hosts: ['*.example.com'] })]))
    expect(verdict.candidates).toMatchObject([
      { rule: 'a', demands: [noBcc], permit: { rule: 'a', target: '/email' } },
      { rule: 'b', demands: [fromUs], permit: { rule: 'b' } },
    ])
  })

  it('are not asked for when a rule without them matches, wherever it stands', () => {
    expect(judged([mail('a', [noBcc]), allow({ hosts: ['**.example.com'] })], post)).toBe('allow allow')
  })

  it('are asked for once a rule, the most specific host first, then as in the file', () => {
    const rules = [
      mail('deep', [noBcc], { hosts: ['**.example.com'] }),
      mail('both', [noBcc], { hosts: ['**.example.com', 'api.example.com'], paths: ['/email', '/*', '/**'] }),
      mail('exact', [noBcc]),
    ]
    expect(needs(policyOf(rules)).candidates.map((candidate) => candidate.rule)).toEqual(['both', 'exact', 'deep'])
  })
})

it('what is recorded is what the rule that decided says', () => {
  const policy = policyOf([
    allow({}, { audit: 'body' }),
    deny({ paths: ['/x'] }, { audit: 'headers' }),
    allow({}, { id: 'b' }),
  ])
  const levels = ['allow', 'deny', 'b', 'gone', null].map((id) => auditLevel(policy, id))
  expect(levels).toEqual(['body', 'headers', 'metadata', 'metadata', 'metadata'])
})

describe('observe mode [L06]', () => {
  const line = 'GET https://api.example.com'
  it.each<[string, readonly RuleSpec[], Subject, string]>([
    ['no rule', [], ask(line), 'no_matching_rule'],
    ['a deny rule', [allow(), deny()], ask(line), 'denied_by_rule'],
    ['an upgrade', [allow()], ask(line, { upgrade: 'websocket' }), 'upgrade_denied'],
    [
      'an override header',
      [allow({ methods: ['GET'] })],
      ask(line, { overrideHeaders: ['x-original-url'] }),
      'override_header',
    ],
    ['%2F', [allow()], ask(`${line}/a%2Fb`), 'path_not_canonical'],
  ])('lets go on what policy denies for %s, and says so', (_, rules, subject, reason) => {
    const enforced = decide(policyOf(rules), subject)
    const observed = decide(policyOf(rules, 'observe'), subject)
    expect(enforced).toMatchObject({ kind: 'denial', reason, observed: null })
    const permit = { rule: null, client: 'github', target: subject.target, upgrade: subject.upgrade, rate: null }
    expect(observed).toEqual({ ...enforced, observed: expect.objectContaining(permit) })
  })

  it('decides as in enforce where the answer is yes', () => {
    expect(decide(policyOf([allow()], 'observe'), ask(line))).toEqual(decide(policyOf([allow()]), ask(line)))
  })
})

describe('a limit that is used up', () => {
  const spec = allow({}, { rate: { requests: 5, per: 'second' }, limits: { requestBytes: 9, responseBytes: 9 } })
  it.each([
    ['rate_limited', 'rule allow allows 5 requests a second'],
    ['request_too_large', 'rule allow takes at most 9 bytes of body'],
  ] as const)('%s', (reason, hint) => {
    for (const mode of ['enforce', 'observe'] as const) {
      const policy = policyOf([spec], mode)
      const verdict = decide(policy, ask('GET https://api.example.com/'))
      if (verdict.kind !== 'permit') throw new Error('denied')
      const free = { ...verdict.permit, rule: null, rate: null, limits: { requestBytes: null, responseBytes: null } }
      const observed = mode === 'observe' ? free : null
      expect(limitDenied(reason, verdict.permit, policy)).toEqual({
        kind: 'denial',
        reason,
        rule: 'allow',
        hint,
        observed,
      })
    }
  })

  it('the rate of a method is called by its name', () => {
    const policy = policyOf([spec])
    const verdict = decide(policy, ask('GET https://api.example.com/'))
    if (verdict.kind !== 'permit') throw new Error('denied')
    const method = { method: 'tools/call', rate: { requests: 60, per: 'minute' } } as const
    expect(limitDenied('rate_limited', verdict.permit, policy, method).hint).toBe(
      'rule allow allows 60 tools/call a minute',
    )
  })
})

describe('the name alone', () => {
  const name = (host: string, port = 443, client = 'github'): { client: string; host: Host; port: number } => ({
    client,
    host: parseHost(host) as Host,
    port,
  })

  it.each<[string, readonly RuleSpec[], 'http' | 'https' | null, number, boolean]>([
    ['some path of it is allowed', [allow({ methods: ['GET'], paths: ['/a'] })], 'https', 443, true],
    ['a body could allow it', [allow({}, { body: { json: [{ path: '$', must: 'be-present' }] } })], 'https', 443, true],
    ['it is passed through', [passthrough()], 'https', 443, true],
    ['passthrough is not for http', [passthrough()], 'http', 443, false],
    ['no rule', [], 'https', 443, false],
    ['another host', [allow({ hosts: ['b.example.com'] })], 'https', 443, false],
    ['another port', [allow()], 'https', 8443, false],
    ['another scheme', [allow()], 'http', 443, false],
    ['another client', [allow({}, { clients: ['mail'] })], 'https', 443, false],
    ['either scheme, https', [allow()], null, 443, true],
    ['either scheme, http', [allow({ schemes: ['http'] })], null, 80, true],
    ['neither scheme', [allow()], null, 80, false],
    ['denied as a whole', [allow(), deny({ hosts: ['**.com'] })], 'https', 443, false],
    ['denied in part', [allow(), deny({ methods: ['DELETE'] })], 'https', 443, true],
    ['denied for an upgrade', [allow(), deny({ upgrade: ['websocket'] })], 'https', 443, true],
    ['denied on another port', [allow(), deny({ ports: [80] })], 'https', 443, true],
    ['denied for another client', [allow(), deny({}, { clients: ['mail'] })], 'https', 443, true],
    [
      'one scheme denied, the other not',
      [allow({ schemes: ['http', 'https'], ports: [443] }), deny({ schemes: ['https'] })],
      null,
      443,
      true,
    ],
  ])('%s', (_, rules, scheme, port, expected) => {
    expect(couldAllow(policyOf(rules), { ...name('api.example.com', port), scheme })).toBe(expected)
  })

  it('could always be allowed in observe mode', () => {
    expect(couldAllow(policyOf([deny()], 'observe'), { ...name('api.example.com'), scheme: 'https' })).toBe(true)
  })

  it('could be allowed for another client, who is worth a 407', () => {
    const policy = policyOf([allow({}, { clients: ['mail'] })])
    const target = { host: parseHost('api.example.com') as Host, port: 443, scheme: 'https' } as const
    expect(couldAllowAny(policy, ['github', 'mail'], target)).toBe('mail')
    expect(couldAllowAny(policy, ['github'], target)).toBeNull()
    expect(couldAllowAny(policyOf([allow()], 'observe'), ['github'], target)).toBeNull()
  })

  it.each<[string, readonly RuleSpec[], string, number, string, string | null]>([
    ['the host', [passthrough()], 'api.example.com', 443, 'github', 'passthrough'],
    [
      'the most specific',
      [passthrough({ hosts: ['**.example.com'] }, { id: 'deep' }), passthrough()],
      'api.example.com',
      443,
      'github',
      'passthrough',
    ],
    ['beside an allow', [allow(), passthrough()], 'api.example.com', 443, 'github', 'passthrough'],
    ['not after a deny', [passthrough(), deny({ hosts: ['*'] })], 'api.example.com', 443, 'github', null],
    [
      'after a deny of another client',
      [passthrough(), deny({}, { clients: ['mail'] })],
      'api.example.com',
      443,
      'github',
      'passthrough',
    ],
    ['not another host', [passthrough()], 'b.example.com', 443, 'github', null],
    ['not another port', [passthrough()], 'api.example.com', 8443, 'github', null],
    ['not another client', [passthrough({}, { clients: ['mail'] })], 'api.example.com', 443, 'github', null],
    ['not by an allow', [allow()], 'api.example.com', 443, 'github', null],
  ])('passthrough: %s', (_, rules, host, port, client, expected) => {
    expect(passthroughRule(policyOf(rules), name(host, port, client))).toBe(expected)
    expect(permitPassthrough(policyOf(rules), name(host, port, client))?.rule ?? null).toBe(expected)
  })

  it('a permit to pass through is for CONNECT to that very authority', () => {
    const permit = permitPassthrough(policyOf([passthrough()]), name('api.example.com', 443, 'github'))
    expect(permit).toMatchObject({ method: 'CONNECT', target: 'api.example.com:443', port: 443, upgrade: null })
  })

  it('passthrough grants nothing to what was decrypted', () => {
    expect(judged([passthrough()], ask('GET https://api.example.com/'))).toBe('no_matching_rule')
  })
})

describe('problems are told all at once', () => {
  it('each with its rule, its place and the fix', () => {
    const compiled = compilePolicy({
      mode: 'enforce',
      clients: [{ name: 'a' }],
      rules: [
        allow({ hosts: ['*', '*.com', 'API.example.com', 'a.*.com'], paths: ['a', '/x/../y'] }),
        allow({ methods: ['G T'], access: 'read-only' }, { clients: ['nobody'] }),
        passthrough({ hosts: ['pinned.example'] }),
        deny({ hosts: ['pinned.example', '**.co.uk'], paths: ['/a'], ports: [443, 0] }),
      ],
    })
    if (compiled.kind === 'ok') throw new Error('accepted')
    expect(compiled.problems.map(({ ruleIndex, at }) => `${ruleIndex} ${at}`)).toEqual([
      'null clients[0].source',
      '0 allow.hosts[0]',
      '0 allow.hosts[1]',
      '0 allow.hosts[2]',
      '0 allow.hosts[3]',
      '0 allow.paths[0]',
      '0 allow.paths[1]',
      '1 clients[0]',
      '1 allow.access',
      '1 allow.methods[0]',
      '1 id',
      '3 deny.ports[1]',
      '2 passthrough.hosts',
    ])
    expect(compiled.problems.every(({ message, fix }) => message !== '' && fix !== '')).toBe(true)
    expect(compiled.problems[3]).toMatchObject({ fix: 'write api.example.com' })
  })

  it('a rule may be for anonymous', () => {
    const policy = policyOf([allow({}, { clients: ['anonymous'] })])
    expect(outcome(decide(policy, ask('GET https://api.example.com/', { client: 'anonymous' })))).toBe('allow allow')
    expect(outcome(decide(policy, ask('GET https://api.example.com/')))).toBe('no_matching_rule')
  })
})

describe('on policies made at random', () => {
  const hosts = ['a.x.test', '*.x.test', '**.x.test', 'x.test', '**.a.x.test', 'b.a.x.test']
  const globs = ['/a', '/a/*', '/a/**', '/**', '/*/b', '/**/b', '/a%2Fb']
  const some = <T>(...values: readonly T[]): fc.Arbitrary<T[]> =>
    fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 2 })
  const match = fc.record(
    {
      hosts: some(...hosts),
      methods: some('GET', 'POST'),
      paths: some(...globs),
      schemes: some<'http' | 'https'>('http', 'https'),
      ports: some(80, 443),
      upgrade: some('websocket', 'h2c'),
      encodedSlash: fc.constant(true),
    },
    { requiredKeys: ['hosts'] },
  )
  const body: More = { body: { json: [{ path: '$.a', must: 'be-present' }] } }
  const more = fc.record({ clients: fc.option(some('github', 'mail')), body: fc.boolean() })
  const spec = fc.tuple(fc.boolean(), match, more).map(([denies, matcher, { clients, body: asks }]): RuleSpec => {
    const { encodedSlash, ...rest } = matcher
    const named: More = clients === null ? {} : { clients }
    if (denies) return deny(rest, named)
    const paths =
      encodedSlash || rest.paths === undefined ? rest.paths : rest.paths.filter((path) => !path.includes('%'))
    const { paths: _, ...others } = rest
    const allowed = { ...others, ...(encodedSlash && { encodedSlash }), ...(paths?.length ? { paths } : {}) }
    return allow(allowed, asks ? { ...named, ...body } : named)
  })
  const rules = fc
    .array(spec, { maxLength: 25, size: 'max' })
    .map((list) => list.map((one, index): RuleSpec => ({ ...one, id: `rule-${index}` })))
  const subject = fc
    .record({
      host: fc.constantFrom('a.x.test', 'x.test', 'b.a.x.test', 'c.x.test', 'y.test'),
      path: fc.constantFrom('/a', '/a/b', '/a%2Fb', '/c/b', '/'),
      method: fc.constantFrom('GET', 'POST'),
      scheme: fc.constantFrom('http', 'https'),
      client: fc.constantFrom('github', 'mail', 'anonymous'),
      upgrade: fc.option(fc.constantFrom('websocket', 'h2c')),
      overrideHeaders: fc.oneof(
        { weight: 3, arbitrary: fc.constant([]) },
        { weight: 1, arbitrary: fc.constant(['x-original-url']) },
      ),
    })
    .map(({ host, path, method, scheme, ...changes }) => ask(`${method} ${scheme}://${host}${path}`, changes))

  it('agrees with a reference that looks at every rule', () => {
    fc.assert(
      fc.property(rules, fc.array(subject, { minLength: 5, maxLength: 10 }), (list, subjects) => {
        const policy = policyOf(list)
        for (const one of subjects) expect(outcome(decide(policy, one))).toBe(reference(list, one))
      }),
      { numRuns: 500 },
    )
  })

  /** 2 allowed, 1 by its body, 0 denied. */
  const reach = (list: readonly RuleSpec[], one: Subject): number => {
    const { kind } = decide(policyOf(list), one)
    return kind === 'permit' ? 2 : kind === 'needs-body' ? 1 : 0
  }

  it('allows no more without one of its allow rules', () => {
    fc.assert(
      fc.property(rules, fc.nat(), subject, (list, pick, one) => {
        const allows = list.filter(({ kind }) => kind === 'allow')
        fc.pre(allows.length > 0)
        const gone = allows[pick % allows.length]
        expect(
          reach(
            list.filter((other) => other !== gone),
            one,
          ),
        ).toBeLessThanOrEqual(reach(list, one))
      }),
      { numRuns: 300 },
    )
  })

  it('allows no more with one more deny rule', () => {
    fc.assert(
      fc.property(rules, match, subject, (list, matcher, one) => {
        const { encodedSlash: _, ...restricted } = matcher
        expect(reach([...list, deny(restricted, { id: 'more' })], one)).toBeLessThanOrEqual(reach(list, one))
      }),
      { numRuns: 300 },
    )
  })

  it('decides the same in any order', () => {
    const shuffled = rules.chain((list) =>
      fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length })),
    )
    const gist = (verdict: Verdict): string => (verdict.kind === 'denial' ? verdict.reason : verdict.kind)
    fc.assert(
      fc.property(shuffled, subject, ([list, other], one) => {
        expect(gist(decide(policyOf(other), one))).toBe(gist(decide(policyOf(list), one)))
      }),
      { numRuns: 300 },
    )
  })

  it('could allow every name of which it allows something', () => {
    fc.assert(
      fc.property(rules, subject, (list, one) => {
        fc.pre(reach(list, one) > 0)
        expect(couldAllow(policyOf(list), one)).toBe(true)
      }),
      { numRuns: 300 },
    )
  })
})

/** CONTRACT "Matching", word for word, without an index. */
function reference(list: readonly RuleSpec[], one: Subject): string {
  const decoded = one.path.replaceAll('%2F', '/')
  const named = list.filter(({ match, clients, kind }) => {
    const schemes = match.schemes ?? (kind === 'deny' ? ['http', 'https'] : ['https'])
    const ports = match.ports ?? (kind === 'deny' ? [one.port] : [one.scheme === 'https' ? 443 : 80])
    const client = clients === undefined || clients.includes(one.client)
    return client && schemes.includes(one.scheme) && ports.includes(one.port) && rankOf(match.hosts, one.host.text) > 0
  })
  const fits = ({ match }: RuleSpec, path: string): boolean =>
    (match.methods?.includes(one.method) ?? true) && (match.paths?.some((glob) => globMatches(glob, path)) ?? true)
  const denied = named.some((entry) => {
    const upgrade = entry.match.upgrade === undefined || entry.match.upgrade.includes(one.upgrade ?? '')
    return entry.kind === 'deny' && upgrade && (fits(entry, one.path) || fits(entry, decoded))
  })
  if (denied) return 'denied_by_rule'
  const matching = named.filter((entry) => entry.kind === 'allow' && fits(entry, one.path))
  const looks = ({ match }: RuleSpec): boolean => match.methods !== undefined || match.paths !== undefined
  const why = matching.map((entry): string => {
    if (one.encodedSlash && entry.match.encodedSlash !== true) return 'path_not_canonical'
    if (one.upgrade !== null && !entry.match.upgrade?.includes(one.upgrade)) return 'upgrade_denied'
    return one.overrideHeaders.length > 0 && looks(entry) ? 'override_header' : 'ok'
  })
  const free = matching.filter((_, index) => why[index] === 'ok')
  if (free.length === 0) {
    return (
      ['path_not_canonical', 'upgrade_denied', 'override_header'].find((reason) => why.includes(reason)) ??
      'no_matching_rule'
    )
  }
  if (one.overrideHeaders.length > 0 && named.some((entry) => entry.kind === 'deny' && looks(entry)))
    return 'override_header'
  const plain = free.filter((entry) => entry.body === undefined)
  if (plain.length === 0) return 'needs-body'
  const best = Math.max(...plain.map((entry) => rankOf(entry.match.hosts, one.host.text)))
  return `allow ${plain.find((entry) => rankOf(entry.match.hosts, one.host.text) === best)?.id}`
}

function rankOf(patterns: readonly string[], name: string): number {
  const ranks = patterns.map((pattern) => {
    if (pattern === name) return 1000
    const base = pattern.slice(pattern.indexOf('.') + 1)
    if (pattern.startsWith('**.')) return name === base || name.endsWith(`.${base}`) ? 2 * base.length : 0
    return pattern.startsWith('*.') && name.slice(name.indexOf('.') + 1) === base ? 2 * base.length + 1 : 0
  })
  return Math.max(...ranks)
}

function globMatches(glob: string, path: string): boolean {
  const source = glob.split(/(\*\*|\*)/).map((piece) => (piece === '**' ? '.*' : piece === '*' ? '[^/]+' : piece))
  return new RegExp(`^${source.join('')}$`).test(path)
}
