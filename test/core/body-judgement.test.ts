import { Buffer } from 'node:buffer'
import { describe, expect, it } from 'vitest'
import { type Host, parseHost } from '../../src/core/address.ts'
import type { InspectedBody } from '../../src/core/body.ts'
import { type BodyJudgement, judgeBody } from '../../src/core/body-judgement.ts'
import { compilePolicy, decide, type Policy } from '../../src/core/policy.ts'
import type { BodyCondition, NeedsBody, PolicySpec, RuleSpec, Subject } from '../../src/core/rule.ts'

const allow = (more: Partial<Omit<RuleSpec, 'kind' | 'match'>>): RuleSpec => ({
  id: 'allow',
  ...more,
  kind: 'allow',
  match: { hosts: ['api.example.com'], methods: ['POST'], paths: ['/email'] },
})
const mail = (id: string, json: readonly BodyCondition[]): RuleSpec => allow({ id, body: { json } })
const noBcc: BodyCondition = { path: '$.Bcc', must: 'be-absent' }
const fromUs: BodyCondition = { path: '$.From', must: 'match', value: '*@acme.example' }

const post: Subject = {
  client: 'anonymous',
  scheme: 'https',
  method: 'POST',
  host: parseHost('api.example.com') as Host,
  port: 443,
  path: '/email',
  encodedSlash: false,
  target: '/email',
  upgrade: null,
  overrideHeaders: [],
}

function policyOf(rules: readonly RuleSpec[], mode: PolicySpec['mode'] = 'enforce'): Policy {
  const compiled = compilePolicy({ mode, clients: [], rules })
  if (compiled.kind === 'bad') throw new Error(JSON.stringify(compiled.problems))
  return compiled.policy
}

function needs(policy: Policy): NeedsBody {
  const verdict = decide(policy, post)
  if (verdict.kind !== 'needs-body') throw new Error(`decided without the body: ${verdict.kind}`)
  return verdict
}

const json = (text: string): InspectedBody => ({
  bytes: Buffer.from(text),
  complete: true,
  contentType: 'application/json',
  undecodable: null,
})
const NOTHING_KNOWN = { knows: () => false }

const verdictOf = (policy: Policy, asked: NeedsBody, body: InspectedBody): BodyJudgement['verdict'] =>
  judgeBody(policy, post, asked, body, NOTHING_KNOWN).verdict

const outcome = (verdict: BodyJudgement['verdict']): string =>
  verdict.kind === 'permit' ? `allow ${verdict.permit.rule}` : verdict.reason

describe('operations of GraphQL', () => {
  const policy = policyOf([allow({ id: 'read', graphql: { operations: ['query'] } })])

  it.each([
    ['allowed', 'query A { a }', 'allow read', [{ operation: 'query', name: 'A' }]],
    ['denied', 'mutation B { b }', 'body_rule', [{ operation: 'mutation', name: 'B' }]],
  ])('that are %s are judged, and told of', (_what, query, expected, told) => {
    const judged = judgeBody(policy, post, needs(policy), json(JSON.stringify({ query })), NOTHING_KNOWN)
    expect([outcome(judged.verdict), judged.graphql]).toEqual([expected, told])
  })
})

describe('conditions on the body', () => {
  it.each([
    ['all hold', '{"From":"me@acme.example"}', 'allow mail'],
    ['one fails', '{"From":"me@acme.example","Bcc":"x"}', 'body_rule'],
    ['the other fails', '{"From":"me@evil.test"}', 'body_rule'],
    ['a member twice', '{"From":"me@evil.test","From":"me@acme.example"}', 'body_rule'],
    ['no JSON', 'From=me@acme.example', 'body_rule'],
    ['nothing', '', 'body_rule'],
  ])('judge the body: %s', (_, text, expected) => {
    const policy = policyOf([mail('mail', [noBcc, fromUs])])
    expect(outcome(verdictOf(policy, needs(policy), json(text)))).toBe(expected)
  })

  it.each([
    ['another type', { contentType: 'text/plain' }],
    ['an encoding not undone', { undecodable: 'br' }],
    ['a body cut short', { complete: false }],
  ])('are never waved through: %s', (_, changes) => {
    const policy = policyOf([mail('mail', [noBcc])])
    const verdict = verdictOf(policy, needs(policy), { ...json('{}'), ...changes })
    expect(verdict).toMatchObject({ reason: 'body_rule', rule: 'mail' })
  })

  it('try every rule, and name the first that failed', () => {
    const policy = policyOf([mail('first', [noBcc]), mail('second', [fromUs])])
    expect(outcome(verdictOf(policy, needs(policy), json('{"Bcc":1,"From":"a@acme.example"}')))).toBe('allow second')
    expect(verdictOf(policy, needs(policy), json('{"Bcc":1}'))).toEqual({
      kind: 'denial',
      reason: 'body_rule',
      rule: 'first',
      hint: 'rule first: $.Bcc must be-absent',
      observed: null,
      flags: ['body_rule:$.Bcc'],
    })
  })

  it('grant nothing by a rule that is gone, or that has no conditions any more', () => {
    const asked = needs(policyOf([mail('mail', [noBcc])]))
    for (const policy of [policyOf([]), policyOf([allow({ id: 'mail' })])]) {
      expect(verdictOf(policy, asked, json('{}'))).toMatchObject({ reason: 'body_rule', rule: 'mail' })
    }
    const none = verdictOf(policyOf([]), { kind: 'needs-body', candidates: [], observed: null }, json('{}'))
    expect(none).toMatchObject({ reason: 'body_rule', rule: null, hint: expect.stringContaining('no rule') })
  })

  it('in observe mode go on under no rule', () => {
    const policy = policyOf([mail('mail', [noBcc])], 'observe')
    const verdict = verdictOf(policy, needs(policy), json('{"Bcc":1}'))
    expect(verdict).toMatchObject({ rule: 'mail', observed: { rule: null, target: '/email' } })
  })
})

describe('messages of MCP', () => {
  const ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
  const rate = { method: 'ping', rate: { requests: 1, per: 'hour' } } as const
  const told = [{ method: 'ping', tool: null, resources: [], id: '1' }]
  const recognized = { recognized: true, method: null, name: null }

  it('are told of, and counted, where a rule is about them', () => {
    const policy = policyOf([allow({ mcp: { tools: ['a'], rates: [rate] } })])
    const judged = judgeBody(policy, post, needs(policy), json(ping), NOTHING_KNOWN)
    expect(judged).toMatchObject({ verdict: { kind: 'permit' }, mcp: told, rates: [rate] })
    const refused = judgeBody(policy, post, needs(policy), json(ping.replace('ping', 'x')), NOTHING_KNOWN)
    expect(refused).toMatchObject({ verdict: { flags: ['body_rule:mcp:x'] }, mcp: [{ method: 'x' }], rates: [] })
  })

  it('are told of where the request says so, and other JSON is not taken for them', () => {
    const policy = policyOf([mail('mail', [noBcc])])
    const judge = (body: InspectedBody): BodyJudgement => judgeBody(policy, post, needs(policy), body, NOTHING_KNOWN)
    expect(judge({ ...json(ping), mcpFields: recognized }).mcp).toEqual(told)
    expect(judge({ ...json(ping), mcpFields: { ...recognized, recognized: false } }).mcp).toBeNull()
    expect(judge(json(ping)).mcp).toBeNull()
  })

  it('are allowed by a rule of their own for what they carry', () => {
    const repo: BodyCondition = { path: '$.params.arguments.repo', must: 'match', value: 'acme/*' }
    const narrow = allow({ id: 'narrow', mcp: { tools: ['read'] }, body: { json: [repo] } })
    const policy = policyOf([allow({ id: 'open', mcp: { tools: ['list'] } }), narrow])
    const call = (name: string, repository: string): string =>
      `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"${name}","arguments":{"repo":"${repository}"}}}`
    const judged = (text: string): string => outcome(verdictOf(policy, needs(policy), json(text)))
    expect(judged(ping)).toBe('allow open')
    expect(judged(call('list', 'other/app'))).toBe('allow open')
    expect(judged(call('read', 'acme/app'))).toBe('allow narrow')
    expect(judged(call('read', 'other/app'))).toBe('body_rule')
    expect(judged(`[${call('read', 'acme/app')},${call('read', 'other/app')}]`)).toBe('body_rule')
  })

  it('are held against the fields that repeat them', () => {
    const policy = policyOf([allow({ mcp: { tools: ['a'] } })])
    const body = { ...json(ping), mcpFields: { ...recognized, method: 'tools/call' } }
    expect(verdictOf(policy, needs(policy), body)).toMatchObject({ flags: ['body_rule:mcp:Mcp-Method'] })
  })
})
