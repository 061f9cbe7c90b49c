// Rules that cannot stand together: passthrough of what another rule has to look into.

import { overlaps } from './host-pattern.ts'
import type { PolicyProblem } from './rule-check.ts'
import { type CompiledRule, restricts } from './rule-compile.ts'

/** SECURITY: what is passed through is never decrypted, so a rule that looks inside would be kept by nobody. */
export function overlapProblems(rules: readonly CompiledRule[]): readonly PolicyProblem[] {
  const inspecting = rules.filter((rule) => rule.kind !== 'passthrough' && looksInside(rule))
  return rules.flatMap((rule) => {
    const other = rule.kind === 'passthrough' ? inspecting.find((candidate) => canMeet(rule, candidate)) : undefined
    if (other === undefined) return []
    const message = `rule ${other.id} looks into requests that this rule passes through unseen`
    return [{ ruleIndex: rule.order, at: 'passthrough.hosts', message, fix: 'keep the host in one of the two rules' }]
  })
}

/** An upgrade that an allow rule names restricts nothing; one that a deny rule names does. */
function looksInside(rule: CompiledRule): boolean {
  return restricts(rule) || rule.inspection !== null || (rule.kind === 'deny' && rule.upgrades !== null)
}

/** Whether one connection could come under both. */
function canMeet(a: CompiledRule, b: CompiledRule): boolean {
  return share(a.clients, b.clients, (client) => [client]) && share(a.services, b.services, readings) && shareHost(a, b)
}

/** Whether some member of `a`, in one of its readings, is one of `b`; null is everything. */
function share<T>(a: ReadonlySet<T> | null, b: ReadonlySet<T> | null, read: (member: T) => readonly T[]): boolean {
  return a === null || b === null || [...a].some((member) => read(member).some((key) => b.has(key)))
}

/** A port is also "any port by that scheme": the keys are those of `serviceKeys`. */
function readings(key: number): readonly number[] {
  return [key, -1 - Math.abs(key % 2)]
}

function shareHost(a: CompiledRule, b: CompiledRule): boolean {
  return a.hosts.some((pattern) => b.hosts.some((other) => overlaps(pattern, other)))
}
