// Hints of denials: the one thing that is missing for the request to be allowed, in one short sentence.

import { formatHost } from './address.ts'
import type { Permit, Subject } from './rule.ts'
import {
  type CompiledRule,
  matchesClient,
  matchesMethod,
  matchesPath,
  matchesService,
  serviceKeys,
} from './rule-compile.ts'
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

/** What a limit that is used up leaves to do. */
export function hintForLimit(reason: 'rate_limited' | 'request_too_large', { rule, rate, limits }: Permit): string {
  if (reason === 'request_too_large') return `rule ${rule} takes at most ${limits.requestBytes} bytes of body`
  return rate === null ? 'wait and try again' : `rule ${rule} allows ${rate.requests} requests a ${rate.per}`
}

/** Why no rule of `allows` matches: the nearest rule that names the host, and the piece that it lacks. */
export function hintForNoMatch(allows: RuleIndex, passthroughs: RuleIndex, subject: Subject): string {
  const host = formatHost(subject.host)
  const services = serviceKeys(subject.scheme, subject.port)
  const missing = (rule: CompiledRule): readonly Piece[] =>
    PIECES.filter((piece) => !piece.has(rule, subject, services))
  const [nearest] = candidates(allows, subject)
    .map((rule) => ({ rule, pieces: missing(rule) }))
    .sort((a, b) => a.pieces.length - b.pieces.length)
  if (nearest !== undefined) {
    const { rule, pieces } = nearest
    return `add ${pieces.map((piece) => piece.text(rule, subject)).join(' and ')} of rule ${rule.id}`
  }
  const [passing] = candidates(passthroughs, subject)
  if (passing === undefined) return `no rule names ${host}; add it to the hosts of an allow rule`
  return `rule ${passing.id} only passes TLS through to ${host}; add it to the hosts of an allow rule`
}

/** At most MAX_CANDIDATES rules that name the host: the client's own first, then those for other clients. */
function candidates(index: RuleIndex, subject: Subject): readonly CompiledRule[] {
  const found = new Set<CompiledRule>()
  const collect = (rule: CompiledRule): boolean => found.add(rule).size >= MAX_CANDIDATES
  for (const client of [[subject.client], null]) {
    const query = { client, service: null, path: null, method: null }
    if (nodesFor(index, subject.host).some((node) => someRule(node, query, collect))) break
  }
  return [...found]
}

interface Piece {
  readonly has: (rule: CompiledRule, subject: Subject, services: readonly number[]) => boolean
  readonly text: (rule: CompiledRule, subject: Subject) => string
}

/** What a rule can lack, in the order of what is most often meant. */
const PIECES: readonly Piece[] = [
  { has: (rule, { path }) => matchesPath(rule, path), text: (_, { path }) => `${clip(path)} to the paths` },
  { has: (rule, { method }) => matchesMethod(rule, method), text: (_, { method }) => `${clip(method)} to the methods` },
  {
    has: (rule, _, services) => matchesService(rule, services),
    text: ({ spec }, { scheme, port }) => {
      const named = spec.match.schemes ?? ['https']
      return named.includes(scheme) ? `${port} to the ports` : `${scheme} to the schemes`
    },
  },
  { has: (rule, { client }) => matchesClient(rule, client), text: (_, { client }) => `${client} to the clients` },
]

function clip(text: string): string {
  return text.length <= MAX_QUOTE ? text : `${text.slice(0, MAX_QUOTE)}…`
}
