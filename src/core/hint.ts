// Hints of denials: the one thing that is missing for the request to be allowed, in one short sentence.

import { formatHost } from './address.ts'
import type { MethodRate, Permit, Subject } from './rule.ts'
import {
  type CompiledRule,
  matchesClient,
  matchesMethod,
  matchesPath,
  matchesService,
  serviceKeys,
} from './rule-compile.ts'
import { writtenRuleId } from './rule-id.ts'
import { nodesFor, type RuleIndex, someRule } from './rule-index.ts'

/** Reasons that one rule gives. */
export type RuleReason = 'denied_by_rule' | 'path_not_canonical' | 'upgrade_denied' | 'override_header'

/** How many rules a denial may look at to find the nearest one. */
const MAX_CANDIDATES = 64
/** How much of a path, method or condition a hint repeats. */
const MAX_QUOTE = 128

const RULE_HINTS: Readonly<Record<RuleReason, (rule: string, subject: Subject) => string>> = {
  denied_by_rule: (rule) => `rule ${rule} denies this`,
  upgrade_denied: (rule, { upgrade }) =>
    upgrade === 'websocket'
      ? `add websocket to the upgrade of rule ${rule}`
      : `send the request without Upgrade: ${clip(String(upgrade))}`,
  path_not_canonical: (rule) => `the path holds %2F, for which rule ${rule} needs encoded_slash: allow`,
  override_header: (rule, { overrideHeaders }) =>
    `send the request without ${overrideHeaders.join(', ')}: rule ${rule} looks at the method or path`,
}

/** What to do about a denial for `reason`; `rule` is the one that stands in the way, or lacks one thing. */
export function hintForRule(reason: RuleReason, rule: CompiledRule, subject: Subject): string {
  return RULE_HINTS[reason](rule.id, subject)
}

/** What kept a body from being allowed by `rule`. */
export function hintForBody(rule: string, why: string): string {
  return clip(`rule ${rule}: ${why}`)
}

/** What a limit that is used up leaves to do. `method`: whose rate it is, null for the rate of the rule. */
export function hintForLimit(
  reason: 'rate_limited' | 'request_too_large',
  { rule, rate, limits }: Permit,
  method: MethodRate | null = null,
): string {
  if (reason === 'request_too_large') return `rule ${rule} takes at most ${limits.requestBytes} bytes of body`
  if (method !== null) return `rule ${rule} allows ${method.rate.requests} ${method.method} a ${method.rate.per}`
  return rate === null
    ? 'wait and try again'
    : `rule ${writtenRuleId(String(rule))} allows ${rate.requests} requests a ${rate.per}`
}

/** Why no rule of `allows` matches: the nearest rule that names the host, and the piece that it lacks. */
export function hintForNoMatch(allows: RuleIndex, passthroughs: RuleIndex, subject: Subject): string {
  const host = formatHost(subject.host)
  const services = serviceKeys(subject.scheme, subject.port)
  const nearest = nearestRule(allows, subject, services)
  if (nearest !== null) {
    const pieces = PIECES.filter((piece) => !piece.has(nearest, subject, services))
    const written = writtenRuleId(nearest.id)
    const texts = pieces.map((piece) =>
      written === nearest.id ? piece.text(nearest, subject) : textForOperation(piece, nearest, subject),
    )
    return `add ${[...new Set(texts)].join(' and ')} of rule ${written}`
  }
  const passing = nearestRule(passthroughs, subject, services)
  if (passing === null) return `no rule names ${host}; add it to the hosts of an allow rule`
  return `rule ${passing.id} only passes TLS through to ${host}; add it to the hosts of an allow rule`
}

/** Of at most MAX_CANDIDATES rules that name the host, the client's own before those for other clients: the first that lacks the least. */
function nearestRule(index: RuleIndex, subject: Subject, services: readonly number[]): CompiledRule | null {
  const seen = new Set<CompiledRule>()
  let nearest: CompiledRule | null = null
  let fewest = PIECES.length + 1
  const look = (rule: CompiledRule): boolean => {
    if (!seen.has(rule)) {
      seen.add(rule)
      const lacking = countLacking(rule, subject, services)
      if (lacking < fewest) [nearest, fewest] = [rule, lacking]
    }
    // One that lacks nothing would have matched.
    return fewest <= 1 || seen.size >= MAX_CANDIDATES
  }
  for (const client of [[subject.client], null]) {
    const query = { client, service: null, path: null, method: null }
    if (nodesFor(index, subject.host).some((node) => someRule(node, query, look))) break
  }
  return nearest
}

function countLacking(rule: CompiledRule, subject: Subject, services: readonly number[]): number {
  let lacking = 0
  for (const piece of PIECES) if (!piece.has(rule, subject, services)) lacking += 1
  return lacking
}

/** What a rule can be without for a request, as `explain` names it. */
export type PieceName = 'path' | 'method' | 'port' | 'scheme' | 'client'

interface Piece {
  readonly name: (rule: CompiledRule, subject: Subject) => PieceName
  readonly has: (rule: CompiledRule, subject: Subject, services: readonly number[]) => boolean
  readonly text: (rule: CompiledRule, subject: Subject) => string
}

/** What a rule can lack, in the order of what is most often meant. */
export const PIECES: readonly Piece[] = [
  {
    name: () => 'path',
    has: (rule, { path }) => matchesPath(rule, path),
    text: (_, { path }) => `${clip(path)} to the paths`,
  },
  {
    name: () => 'method',
    has: (rule, { method }) => matchesMethod(rule, method),
    text: (_, { method }) => `${clip(method)} to the methods`,
  },
  {
    name: (rule, { scheme }) => (namesScheme(rule, scheme) ? 'port' : 'scheme'),
    has: (rule, _, services) => matchesService(rule, services),
    text: (rule, { scheme, port }) => (namesScheme(rule, scheme) ? `${port} to the ports` : `${scheme} to the schemes`),
  },
  {
    name: () => 'client',
    has: (rule, { client }) => matchesClient(rule, client),
    text: (_, { client }) => `${client} to the clients`,
  },
]

/** What an operation of an API description matches stands in the description, not in the rule. */
function textForOperation(piece: Piece, rule: CompiledRule, subject: Subject): string {
  const name = piece.name(rule, subject)
  if (name === 'client') return piece.text(rule, subject)
  if (name === 'scheme') return `${subject.scheme} to the servers in the API description`
  if (name === 'port') return `port ${subject.port} to the servers in the API description`
  return 'the operation to the openapi.allow'
}

function namesScheme({ kind, spec }: CompiledRule, scheme: Subject['scheme']): boolean {
  return (spec.match.schemes ?? (kind === 'deny' ? [scheme] : ['https'])).includes(scheme)
}

function clip(text: string): string {
  return text.length <= MAX_QUOTE ? text : `${text.slice(0, MAX_QUOTE)}…`
}
