// Judges the name of one DNS question: could any rule let this client reach it, and does the name itself carry data.

import { type Host, parseHost } from './address.ts'
import type { HostPattern } from './host-pattern.ts'
import type { Policy } from './policy.ts'
import type { Reason } from './refusal.ts'
import { type CompiledRule, matchesClient, matchesService, serviceKeys } from './rule-compile.ts'
import { firstRule, nodesFor } from './rule-index.ts'

/** In the place of a wildcard: characters of all labels together. */
const MAX_BELOW_LENGTH = 80
/**
 * Shannon entropy of the characters of a label, or of all of them, times their number. A UUID has 122 bits, 54 characters
 * of hyphenated words 205, 56 of base32 255.
 */
const MAX_LABEL_BITS = 224
const MAX_BELOW_BITS = 320

/**
 * What a question is to policy. `granted`: some rule could allow a request there; `below` is what stands in the place of
 * the wildcard that matched, empty where the name is written out. `loopback`: RFC 6761 §6.3. `denied`: `observed` says
 * that observe mode answers all the same; `host` is null where the name is no canonical one.
 */
export type NameVerdict =
  | { readonly kind: 'granted'; readonly host: Host; readonly rule: string; readonly below: string }
  | { readonly kind: 'loopback'; readonly host: Host }
  | NameDenial

export interface NameDenial {
  readonly kind: 'denied'
  readonly host: Host | null
  readonly reason: Reason
  readonly rule: string | null
  readonly flags: readonly string[]
  readonly observed: boolean
}

/** `name`: as asked, labels joined by dots, anything but letters, digits, `-` and `_` escaped with a backslash. */
export function judgeName(policy: Policy, client: string, name: string): NameVerdict {
  const host = parseHost(name)
  // An address is no name to ask for; clients that do so have misread what they were given.
  if (host?.kind !== 'name') return denial(policy, null, 'host_not_canonical')
  const { granting, denying } = searchRules(policy, client, host)
  if (denying !== null && granting === null) return denial(policy, host, 'denied_by_rule', denying.id)
  if (granting === null) {
    return isLocalhost(host.text) ? { kind: 'loopback', host } : denial(policy, host, 'no_matching_rule')
  }
  const below = belowWildcard(granting.hosts, host.text)
  // Labels that look like data are the one thing that a wildcard lets a client say to whoever runs the zone.
  if (looksLikeData(below)) return denial(policy, host, 'no_matching_rule', granting.id, 'dns_label_entropy')
  return { kind: 'granted', host, rule: granting.id, below }
}

/** The refusal of a name that a rule grants, because its budget of new names is used up. */
export function newNamesDenied(policy: Policy, granted: { readonly host: Host; readonly rule: string }): NameDenial {
  return denial(policy, granted.host, 'rate_limited', granted.rule, 'dns_new_names')
}

/** Whether the labels in the place of a wildcard are more likely data than a name: too long, or too random for their length. */
export function looksLikeData(below: string): boolean {
  if (below.length > MAX_BELOW_LENGTH || entropyBits(below) > MAX_BELOW_BITS) return true
  return below.split('.').some((label) => entropyBits(label) > MAX_LABEL_BITS)
}

function denial(
  policy: Policy,
  host: Host | null,
  reason: Reason,
  rule: string | null = null,
  ...flags: readonly string[]
): NameDenial {
  const observed = policy.mode === 'observe' && host !== null
  return { kind: 'denied', host, reason, rule, flags, observed }
}

interface Search {
  readonly granting: CompiledRule | null
  readonly denying: CompiledRule | null
}

/** The rule that could let a request through, the most specific host first, and a deny rule that stands before others. */
function searchRules(policy: Policy, client: string, host: Host): Search {
  const query = { client: [client], service: null, path: null, method: null }
  const first = (index: Policy['allows'], test: (rule: CompiledRule) => boolean): CompiledRule | null => {
    for (const node of nodesFor(index, host)) {
      const rule = firstRule(node, query, (candidate) => matchesClient(candidate, client) && test(candidate))
      if (rule !== null) return rule
    }
    return null
  }
  const everything = first(policy.openDenies, (rule) => rule.services === null)
  if (everything !== null) return { granting: null, denying: everything }
  let denying: CompiledRule | null = null
  // SECURITY: a rule all of whose services are denied opens nothing; its name must not be answered on its account.
  const isOpen = ({ services }: CompiledRule): boolean =>
    // Only a deny rule can leave its services open.
    [...(services as ReadonlySet<number>)].some((key) => {
      const keys = serviceKeys(key % 2 === 1 ? 'https' : 'http', key >> 1)
      const denied = first(policy.openDenies, (rule) => matchesService(rule, keys))
      denying ??= denied
      return denied === null
    })
  const found = [first(policy.passthroughs, isOpen), first(policy.allows, isOpen)].filter((rule) => rule !== null)
  const granting = found.find((rule) => belowWildcard(rule.hosts, host.text) === '') ?? found[0] ?? null
  return { granting, denying }
}

/** What of `name` stands in the place of the wildcard, by the pattern that leaves the least; empty: written out. */
function belowWildcard(patterns: readonly HostPattern[], name: string): string {
  let below = name
  for (const pattern of patterns) {
    if (pattern.kind === 'exact' ? pattern.text === name : pattern.kind === 'subtree' && pattern.base === name)
      return ''
    if (pattern.kind === 'exact' || pattern.kind === 'any' || !name.endsWith(`.${pattern.base}`)) continue
    const rest = name.slice(0, -pattern.base.length - 1)
    if (rest.length < below.length && (pattern.kind === 'subtree' || !rest.includes('.'))) below = rest
  }
  return below
}

function isLocalhost(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost')
}

/** Of the whole text, by how often each of its characters occurs in it. */
function entropyBits(text: string): number {
  const counts = new Map<string, number>()
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1)
  let bits = 0
  for (const count of counts.values()) bits += count * Math.log2(text.length / count)
  return bits
}
