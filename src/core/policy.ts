// The one judge: compiles rules, decides requests, and is the only maker of a Permit.

import { formatAuthority, type Host } from './address.ts'
import { hintForLimit, hintForNoMatch, hintForRule, type RuleReason } from './hint.ts'
import { ANONYMOUS, clientProblems } from './identity.ts'
import { demandsBy } from './inspection.ts'
import type { Reason } from './refusal.ts'
import type { AuditLevel, Denial, LimitSpec, MethodRate, Permit, PolicySpec, Subject, Verdict } from './rule.ts'
import type { PolicyProblem } from './rule-check.ts'
import {
  type CompiledRule,
  compileRule,
  deniedReadings,
  deniesUpgrade,
  matchesName,
  matchesRequest,
  restricts,
  serviceKeys,
} from './rule-compile.ts'
import { buildIndex, firstRule, nodesFor, type RuleIndex, someRule } from './rule-index.ts'
import { overlapProblems } from './rule-overlap.ts'
import type { Leak } from './secret.ts'

export type { PolicyProblem } from './rule-check.ts'

export type Compiled =
  | { readonly kind: 'ok'; readonly policy: Policy }
  | { readonly kind: 'bad'; readonly problems: readonly PolicyProblem[] }

/** A compiled policy. `openDenies` deny whole hosts; `inspectingDenies` look at method or path. */
export interface Policy {
  readonly mode: PolicySpec['mode']
  readonly rules: ReadonlyMap<string, CompiledRule>
  readonly allows: RuleIndex
  readonly passthroughs: RuleIndex
  readonly denies: RuleIndex
  readonly openDenies: RuleIndex
  readonly inspectingDenies: RuleIndex
}

/** What is known of a request before it is: who, and which host and port. */
export interface Name {
  readonly client: string
  readonly host: Host
  readonly port: number
}

type Scheme = 'http' | 'https'

const NO_LIMITS: LimitSpec = { requestBytes: null, responseBytes: null }

/** A policy, or everything that is wrong with `spec`. */
export function compilePolicy(spec: PolicySpec): Compiled {
  const problems: PolicyProblem[] = clientProblems(spec.clients).map((problem) => ({ ruleIndex: null, ...problem }))
  const clientNames = new Set([ANONYMOUS, ...spec.clients.map(({ name }) => name)])
  const byId = new Map<string, CompiledRule>()
  const rules = spec.rules.map((rule, ruleIndex) => {
    const compiled = compileRule(rule, ruleIndex, clientNames, (at, message, fix) => {
      problems.push({ ruleIndex, at, message, fix })
    })
    if (byId.has(rule.id)) {
      const message = `another rule is called ${JSON.stringify(rule.id)}`
      problems.push({ ruleIndex, at: 'id', message, fix: 'give each rule its own id' })
    }
    byId.set(rule.id, compiled)
    return compiled
  })
  problems.push(...overlapProblems(rules))
  if (problems.length > 0) return { kind: 'bad', problems }
  const denies = rules.filter(({ kind }) => kind === 'deny')
  const policy = {
    mode: spec.mode,
    rules: byId,
    allows: buildIndex(rules.filter(({ kind }) => kind === 'allow')),
    passthroughs: buildIndex(rules.filter(({ kind }) => kind === 'passthrough')),
    denies: buildIndex(denies),
    openDenies: buildIndex(denies.filter((rule) => !restricts(rule) && rule.upgrades === null)),
    inspectingDenies: buildIndex(denies.filter(restricts)),
  }
  return { kind: 'ok', policy }
}

/** Deny before allow (CONTRACT §2). Passthrough grants nothing here: what is judged has been decrypted. */
export function decide(policy: Policy, subject: Subject): Verdict {
  const denying = findDeny(policy, subject)
  if (denying !== null) return denyBy(policy, subject, 'denied_by_rule', denying)
  const { winner, conditional, obstacle } = searchAllows(policy, subject)
  if (winner === null && conditional.length === 0) {
    if (obstacle !== null) return denyBy(policy, subject, obstacle.reason, obstacle.rule)
    return deny(policy, subject, 'no_matching_rule', null, hintForNoMatch(policy.allows, policy.passthroughs, subject))
  }
  const overridden = subject.overrideHeaders.length === 0 ? null : findInspectingDeny(policy, subject)
  if (overridden !== null) return denyBy(policy, subject, 'override_header', overridden)
  if (winner !== null) return { kind: 'permit', permit: permit(subject, winner) }
  const candidates = conditional.map((rule) => ({
    rule: rule.id,
    permit: permit(subject, rule),
    demands: demandsBy(rule.inspection),
  }))
  return { kind: 'needs-body', candidates, observed: observedPermit(policy, subject) }
}

/**
 * Whether some method and path on this host and port could be allowed or passed through; `scheme` null: by either scheme.
 * In observe mode always, as everything goes on there.
 */
export function couldAllow(policy: Policy, name: Name & { readonly scheme: Scheme | null }): boolean {
  return policy.mode === 'observe' || someRuleAllows(policy, name)
}

/** The first of `clients` whom a rule could allow to reach the name; null in observe mode, where nobody is kept from it. */
export function couldAllowAny(
  policy: Policy,
  clients: readonly string[],
  name: Omit<Name, 'client'> & { readonly scheme: Scheme | null },
): string | null {
  if (policy.mode === 'observe') return null
  return clients.find((client) => someRuleAllows(policy, { ...name, client })) ?? null
}

/** The id of the rule that has this name passed through undecrypted, or null: none does, or a deny rule comes first. */
export function passthroughRule(policy: Policy, name: Name): string | null {
  if (reaches(policy.openDenies, name, 'https')) return null
  const services = serviceKeys('https', name.port)
  const query = { client: [name.client], service: services, path: null, method: null }
  for (const node of nodesFor(policy.passthroughs, name.host)) {
    const rule = firstRule(node, query, (candidate) => matchesName(candidate, name.client, services))
    if (rule !== null) return rule.id
  }
  return null
}

/** The Permit to splice a connection to this very name, undecrypted: its method is CONNECT. Null where `passthroughRule` is. */
export function permitPassthrough(policy: Policy, name: Name): Permit | null {
  const rule = policy.rules.get(passthroughRule(policy, name) ?? '')
  if (rule === undefined) return null
  const target = formatAuthority(name, null)
  return permit({ ...name, scheme: 'https', method: 'CONNECT', target, upgrade: null }, rule)
}

/** What a used-up limit makes of `permitted`. In observe mode it goes on, without limits to run into again. `method`: whose rate it is. */
export function limitDenied(
  reason: 'rate_limited' | 'request_too_large',
  permitted: Permit,
  policy: Policy,
  method: MethodRate | null = null,
): Denial {
  const { rule } = permitted
  const observed = policy.mode === 'observe' ? { ...permitted, rule: null, rate: null, limits: NO_LIMITS } : null
  return { kind: 'denial', reason, rule, hint: hintForLimit(reason, permitted, method), observed }
}

/** What a secret that may not go there makes of a request, or one that may not be put in. */
export function secretDenied(policy: Policy, subject: Subject, leak: Leak, of: 'secret' | 'inject' = 'secret'): Denial {
  const rule = `${of}:${leak.name}`
  return { ...deny(policy, subject, 'denied_by_rule', rule, leak.hint), flags: [rule] }
}

/** SECURITY: the only place where a Permit begins: each is preceded by a decision for this very subject. */
function permit(
  subject: Omit<Subject, 'path' | 'encodedSlash' | 'overrideHeaders'>,
  rule: CompiledRule | null,
): Permit {
  return {
    rule: rule === null ? null : rule.id,
    client: subject.client,
    scheme: subject.scheme,
    method: subject.method,
    host: subject.host,
    port: subject.port,
    target: subject.target,
    upgrade: subject.upgrade,
    rate: rule?.spec.rate ?? null,
    limits: rule?.spec.limits ?? NO_LIMITS,
  } as Permit
}

/** What the rule that decided has recorded; of what no rule decided the metadata. */
export function auditLevel(policy: Policy, rule: string | null): AuditLevel {
  return (rule === null ? undefined : policy.rules.get(rule)?.spec.audit) ?? 'metadata'
}

function deny(policy: Policy, subject: Subject, reason: Reason, rule: string | null, hint: string): Denial {
  return { kind: 'denial', reason, rule, hint, observed: observedPermit(policy, subject) }
}

function observedPermit(policy: Policy, subject: Subject): Permit | null {
  return policy.mode === 'observe' ? permit(subject, null) : null
}

function denyBy(policy: Policy, subject: Subject, reason: RuleReason, rule: CompiledRule): Denial {
  // An allow rule that would have matched is what the hint is about, but it denied nothing.
  const judge = rule.kind === 'deny' || reason === 'override_header' ? rule.id : null
  return deny(policy, subject, reason, judge, hintForRule(reason, rule, subject))
}

function findDeny(policy: Policy, subject: Subject): CompiledRule | null {
  const nodes = nodesFor(policy.denies, subject.host)
  if (nodes.length === 0) return null
  const { client, method, upgrade } = subject
  const services = serviceKeys(subject.scheme, subject.port)
  const readings = deniedReadings(subject)
  for (const node of nodes) {
    for (const reading of readings) {
      const query = { client: [client], service: services, path: reading, method: [method] }
      const rule = firstRule(node, query, (candidate) => {
        if (!deniesUpgrade(candidate, upgrade)) return false
        return matchesRequest(candidate, subject, services, reading)
      })
      if (rule !== null) return rule
    }
  }
  return null
}

/** A deny rule for this name that an overridden method or path could slip past. */
function findInspectingDeny(policy: Policy, subject: Subject): CompiledRule | null {
  const services = serviceKeys(subject.scheme, subject.port)
  const query = { client: [subject.client], service: services, path: null, method: null }
  for (const node of nodesFor(policy.inspectingDenies, subject.host)) {
    const rule = firstRule(node, query, (candidate) => matchesName(candidate, subject.client, services))
    if (rule !== null) return rule
  }
  return null
}

interface Obstacle {
  readonly reason: Exclude<RuleReason, 'denied_by_rule'>
  readonly rule: CompiledRule
}

/** `winner` needs nothing more; `conditional` match if the body does, the most specific host first, then file order. */
interface Search {
  readonly winner: CompiledRule | null
  readonly conditional: readonly CompiledRule[]
  readonly obstacle: Obstacle | null
}

const NONE: Search['conditional'] = []

function searchAllows(policy: Policy, subject: Subject): Search {
  const services = serviceKeys(subject.scheme, subject.port)
  const query = { client: [subject.client], service: services, path: subject.path, method: [subject.method] }
  let conditional: Set<CompiledRule> | null = null
  let obstacle: Obstacle | null = null
  let found: CompiledRule[] = []
  const grants = (rule: CompiledRule): boolean => {
    if (!matchesRequest(rule, subject, services, subject.path)) return false
    const reason = obstacleTo(rule, subject)
    if (reason !== null) obstacle = nearer(obstacle, { reason, rule })
    else if (rule.inspection === null) return true
    else found.push(rule)
    return false
  }
  for (const node of nodesFor(policy.allows, subject.host)) {
    const winner = firstRule(node, query, grants)
    if (winner !== null) return { winner, conditional: NONE, obstacle: null }
    if (found.length === 0) continue
    conditional ??= new Set()
    // A Set keeps the place of what is added again: a rule stands where its most specific host put it.
    for (const rule of found.sort((a, b) => a.order - b.order)) conditional.add(rule)
    found = []
  }
  return { winner: null, conditional: conditional === null ? NONE : [...conditional], obstacle }
}

/** What of a request that an allow rule matches it does not open all the same. */
export function obstacleTo(rule: CompiledRule, subject: Subject): Obstacle['reason'] | null {
  if (subject.encodedSlash && rule.spec.match.encodedSlash !== true) return 'path_not_canonical'
  if (subject.upgrade !== null && rule.upgrades?.has(subject.upgrade) !== true) return 'upgrade_denied'
  return subject.overrideHeaders.length > 0 && restricts(rule) ? 'override_header' : null
}

const NEARNESS: Readonly<Record<Obstacle['reason'], number>> = {
  path_not_canonical: 0,
  upgrade_denied: 1,
  override_header: 2,
}

/** Of several rules that almost match, always the same one, whatever order the index gives them in. */
function nearer(a: Obstacle | null, b: Obstacle): Obstacle {
  if (a === null) return b
  const difference = NEARNESS[a.reason] - NEARNESS[b.reason]
  return difference < 0 || (difference === 0 && a.rule.order < b.rule.order) ? a : b
}

function someRuleAllows(policy: Policy, name: Name & { readonly scheme: Scheme | null }): boolean {
  const schemes: readonly Scheme[] = name.scheme === null ? ['https', 'http'] : [name.scheme]
  return schemes.some((scheme) => {
    if (!reaches(policy.allows, name, scheme) && !reaches(policy.passthroughs, name, scheme)) return false
    return !reaches(policy.openDenies, name, scheme)
  })
}

/** Whether a rule of `index` is for this client, host, scheme and port. */
function reaches(index: RuleIndex, { client, host, port }: Name, scheme: Scheme): boolean {
  const services = serviceKeys(scheme, port)
  const query = { client: [client], service: services, path: null, method: null }
  return nodesFor(index, host).some((node) => someRule(node, query, (rule) => matchesName(rule, client, services)))
}
