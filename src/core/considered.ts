// The rules that name the host of a request, each with what keeps it from matching: what `explain` lists.

import type { Host } from './address.ts'
import { PIECES, type PieceName } from './hint.ts'
import { obstacleTo, type Policy } from './policy.ts'
import type { RuleSpec, Subject } from './rule.ts'
import { type CompiledRule, deniedReadings, deniesUpgrade, serviceKeys } from './rule-compile.ts'
import { nodesFor, someRule } from './rule-index.ts'

/** Also what an allow rule has to open beside what it matches. */
export type MissingName = PieceName | 'upgrade' | 'encoded_slash' | 'override_header'

/** `matched`: `missing` is empty. Of an allow rule with demands on the body, the body may still keep it from allowing. */
export interface ConsideredRule {
  readonly rule: string
  readonly kind: RuleSpec['kind']
  readonly matched: boolean
  readonly missing: readonly MissingName[]
}

/** `omitted`: how many more there are. */
export interface Considered {
  readonly rules: readonly ConsideredRule[]
  readonly omitted: number
}

/** Beyond so many rules nobody reads on. */
const MAX_CONSIDERED = 20

const KINDS: readonly RuleSpec['kind'][] = ['deny', 'passthrough', 'allow']
/** Each with what the request would have to be without. */
const OBSTACLES: Readonly<
  Record<NonNullable<ReturnType<typeof obstacleTo>>, { readonly name: MissingName; readonly without: Partial<Subject> }>
> = {
  path_not_canonical: { name: 'encoded_slash', without: { encodedSlash: false } },
  upgrade_denied: { name: 'upgrade', without: { upgrade: null } },
  override_header: { name: 'override_header', without: { overrideHeaders: [] } },
}

/** Those of every client, deny rules first, then what comes nearest, then in the order of the file. The nearest are never left out. */
export function considered(policy: Policy, subject: Subject): Considered {
  const all = rulesNaming(policy, subject.host)
    .map((rule) => ({ rule, missing: missingOf(rule, subject) }))
    .sort((a, b) => a.missing.length - b.missing.length || byKind(a.rule, b.rule) || a.rule.order - b.rule.order)
  const shown = all.slice(0, MAX_CONSIDERED).sort((a, b) => byKind(a.rule, b.rule))
  return {
    rules: shown.map(({ rule: { id, kind }, missing }) => ({
      rule: id,
      kind,
      matched: missing.length === 0,
      missing,
    })),
    omitted: all.length - shown.length,
  }
}

/** What keeps `rule`, which names the host, from matching. */
export function missingOf(rule: CompiledRule, subject: Subject): readonly MissingName[] {
  const services = serviceKeys(subject.scheme, subject.port)
  const lacking = (path: string): readonly PieceName[] =>
    PIECES.filter(({ has }) => !has(rule, { ...subject, path }, services)).map(({ name }) => name(rule, subject))
  if (rule.kind === 'passthrough') return lacking(subject.path)
  if (rule.kind === 'allow') return [...lacking(subject.path), ...obstaclesTo(rule, subject)]
  const [read, other = read] = deniedReadings(subject).map(lacking) as [readonly PieceName[], (readonly PieceName[])?]
  const pieces = other.length < read.length ? other : read
  return deniesUpgrade(rule, subject.upgrade) ? pieces : [...pieces, 'upgrade']
}

function obstaclesTo(rule: CompiledRule, subject: Subject): readonly MissingName[] {
  const obstacle = obstacleTo(rule, subject)
  if (obstacle === null) return []
  const { name, without } = OBSTACLES[obstacle]
  return [name, ...obstaclesTo(rule, { ...subject, ...without })]
}

/** Whatever else they say. */
export function rulesNaming(policy: Policy, host: Host): readonly CompiledRule[] {
  const found = new Set<CompiledRule>()
  const query = { client: null, service: null, path: null, method: null }
  for (const index of [policy.denies, policy.passthroughs, policy.allows]) {
    for (const node of nodesFor(index, host)) {
      someRule(node, query, (rule) => {
        found.add(rule)
        return false
      })
    }
  }
  return [...found]
}

function byKind(a: CompiledRule, b: CompiledRule): number {
  return KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind)
}
