import { describe, expect, it } from 'vitest'
import { parseHost, type Host } from '../../src/core/address.ts'
import { type AddressPolicy, parseCidr } from '../../src/core/address-class.ts'
import { compileIdentity } from '../../src/core/identity.ts'
import { compilePolicy, decide, type Policy } from '../../src/core/policy.ts'
import {
  type Asker,
  couldPermit,
  type Grounds,
  heldDemands,
  passesStill,
  permitsStill,
  type Route,
  type Underway,
} from '../../src/core/revocation.ts'
import type {
  BodyCondition,
  ClientSpec,
  MatchSpec,
  Permit,
  PolicySpec,
  RuleSpec,
  Subject,
} from '../../src/core/rule.ts'

const NAME = 'api.example.com'
const HOST = parseHost(NAME) as Host
const ANYBODY: Asker = { source: '192.0.2.1', credentials: null }
const ROBOT: Asker = { source: '192.0.2.1', credentials: 'Bearer first' }
const NO_BCC: BodyCondition = { path: '$.Bcc', must: 'be-absent' }
const NO_CC: BodyCondition = { path: '$.Cc', must: 'be-absent' }

const DENYING: AddressPolicy = { deny: new Set(['loopback', 'private']), allow: [] }
const OPEN: AddressPolicy = { ...DENYING, allow: ['10.0.0.0/8', '::1/128'].map((text) => parseCidr(text) as never) }

function policyOf(rules: readonly RuleSpec[], clients: readonly ClientSpec[], mode: PolicySpec['mode']): Policy {
  const compiled = compilePolicy({ mode, clients, rules })
  if (compiled.kind === 'bad') throw new Error(JSON.stringify(compiled.problems))
  return compiled.policy
}

function grounds(
  rules: readonly RuleSpec[],
  more: { clients?: ClientSpec[]; mode?: PolicySpec['mode']; addresses?: AddressPolicy } = {},
): Grounds {
  const { clients = [{ name: 'robot', token: 'first' }], mode = 'enforce', addresses = OPEN } = more
  return { policy: policyOf(rules, clients, mode), identity: compileIdentity(clients), addresses }
}

const allow = (match: Partial<MatchSpec> = {}, more: Partial<Omit<RuleSpec, 'kind'>> = {}): RuleSpec => ({
  id: 'rule',
  ...more,
  kind: 'allow',
  match: { hosts: [NAME], ...match },
})
const inspecting = (...json: BodyCondition[]): RuleSpec => allow({}, { body: { json } })
const passing = (more: Pick<RuleSpec, 'clients'> = {}): RuleSpec => ({
  id: 'rule',
  ...more,
  kind: 'passthrough',
  match: { hosts: [NAME] },
})

const SUBJECT: Subject = {
  client: 'whoever it was',
  scheme: 'https',
  method: 'POST',
  host: HOST,
  port: 443,
  path: '/a',
  encodedSlash: false,
  target: '/a',
  upgrade: null,
  overrideHeaders: [],
}
const underway = (more: Partial<Underway> = {}): Underway => ({
  asker: ANYBODY,
  subject: SUBJECT,
  held: [],
  address: '10.0.0.7:443',
  ...more,
})
const route = (more: Partial<Route> = {}): Route => ({
  asker: ANYBODY,
  scheme: 'https',
  host: HOST,
  port: 443,
  ...more,
})

const CHANGED: ClientSpec[] = [{ name: 'robot', token: 'second' }]
const RENAMED: ClientSpec[] = [{ name: 'android', token: 'first' }]
const MINE = { clients: ['robot'] }

describe('a request under way', () => {
  it.each<[string, boolean, Grounds, Partial<Underway>]>([
    ['a rule that still allows it', true, grounds([allow()]), {}],
    ['no rule', false, grounds([]), {}],
    ['a rule for another path', false, grounds([allow({ paths: ['/b'] })]), {}],
    ['a deny rule', false, grounds([allow(), { id: 'no', kind: 'deny', match: { hosts: [NAME] } }]), {}],
    ['observe mode', true, grounds([], { mode: 'observe' }), {}],
    ['a forbidden address', false, grounds([allow()], { addresses: DENYING }), {}],
    ['a forbidden address that is IPv6', false, grounds([allow()], { addresses: DENYING }), { address: '[::1]:443' }],
    ['an allowed address that is IPv6', true, grounds([allow()]), { address: '[::1]:443' }],
    ['an address not known yet', true, grounds([allow()], { addresses: DENYING }), { address: null }],
    ['its client as it was', true, grounds([allow({}, MINE)]), { asker: ROBOT }],
    ['a changed token', false, grounds([allow()], { clients: CHANGED }), { asker: ROBOT }],
    ['a client of another name and no rule', false, grounds([allow()], { clients: [] }), { asker: ROBOT }],
    [
      'another client by the same token, whom the rule allows',
      true,
      grounds([allow({}, { clients: ['android'] })], { clients: RENAMED }),
      { asker: ROBOT },
    ],
    ['a rule for somebody else', false, grounds([allow({}, MINE)]), {}],
    [
      'a source that is another client now',
      false,
      grounds([allow({}, { clients: ['a'] })], {
        clients: [
          { name: 'a', source: ['192.0.2.2'] },
          { name: 'b', source: ['192.0.2.1'] },
        ],
      }),
      {},
    ],
    ['the conditions that held', true, grounds([inspecting(NO_BCC)]), { held: [NO_BCC] }],
    ['fewer conditions', true, grounds([inspecting(NO_BCC)]), { held: [NO_CC, NO_BCC] }],
    ['one condition more', false, grounds([inspecting(NO_BCC, NO_CC)]), { held: [NO_BCC] }],
    ['conditions where there were none', false, grounds([inspecting(NO_BCC)]), {}],
    ['no conditions any more', true, grounds([allow()]), { held: [NO_BCC] }],
  ])('%s: %s', (_name, stays, now, more) => {
    expect(permitsStill(now, underway(more))).toBe(stays)
  })

  it('has the conditions of the rule that permitted it, and none where no rule did', () => {
    const { policy } = grounds([inspecting(NO_BCC, NO_CC)])
    const verdict = decide(policy, { ...SUBJECT, client: 'anonymous' })
    if (verdict.kind !== 'needs-body') throw new Error(verdict.kind)
    const permit = verdict.candidates[0]?.permit as Permit
    expect(heldDemands(policy, permit)).toEqual([NO_BCC, NO_CC])
    expect(heldDemands(policy, { ...permit, rule: null })).toEqual([])
    expect(heldDemands(grounds([allow()]).policy, permit)).toEqual([])
  })
})

describe('a tunnel', () => {
  it.each<[string, boolean, Grounds, Asker, string | null]>([
    ['a rule that still passes it', true, grounds([passing()]), ANYBODY, '10.0.0.7:443'],
    ['a rule that allows, which needs to see', false, grounds([allow()]), ANYBODY, '10.0.0.7:443'],
    ['no rule', false, grounds([]), ANYBODY, null],
    ['observe mode', true, grounds([], { mode: 'observe' }), ANYBODY, null],
    ['a forbidden address', false, grounds([passing()], { addresses: DENYING }), ANYBODY, '10.0.0.7:443'],
    ['an address not known yet', true, grounds([passing()], { addresses: DENYING }), ANYBODY, null],
    ['a changed token', false, grounds([passing()], { clients: CHANGED }), ROBOT, null],
    ['a rule for somebody else', false, grounds([passing(MINE)]), ANYBODY, null],
    ['a rule for this client', true, grounds([passing(MINE)]), ROBOT, null],
  ])('%s: %s', (_name, stays, now, asker, address) => {
    expect(passesStill(now, route({ asker }), address)).toBe(stays)
  })
})

describe('a connection without a request', () => {
  it.each<[string, boolean, Grounds, Partial<Route>]>([
    ['a rule for some path', true, grounds([allow({ paths: ['/b'] })]), {}],
    ['a rule that passes it through', true, grounds([passing()]), {}],
    ['no rule', false, grounds([]), {}],
    ['observe mode', true, grounds([], { mode: 'observe' }), {}],
    ['a rule for the other scheme', false, grounds([allow()]), { scheme: 'http' }],
    ['a rule for one of both schemes', true, grounds([allow()]), { scheme: null }],
    ['a rule for another port', false, grounds([allow()]), { port: 8_443 }],
    ['a changed token', false, grounds([allow()], { clients: CHANGED }), { asker: ROBOT }],
    ['a rule for this client', true, grounds([allow({}, MINE)]), { asker: ROBOT }],
  ])('%s: %s', (_name, stays, now, more) => {
    expect(couldPermit(now, route(more))).toBe(stays)
  })
})
