// Turns traffic into rules, each for one client and one origin, in an order that depends on what was seen and not on when.

import type { RuleSpec } from '../core/rule.ts'
import { DEFAULT_PORT, ruleId, verbOf } from './learn-ids.ts'
import { type MethodsAlike, methodsAlike } from './learn-methods.ts'
import { hostOf } from './learn-request.ts'
import type { Seen } from './learn-seen.ts'
import { leaveOut, type PassedThrough, type Service, type Traffic } from './learn-traffic.ts'

export interface LearnedRule {
  readonly spec: RuleSpec
  readonly seen: Seen
  /** Nothing of it ever left. */
  readonly refused: boolean
  /** Messages of MCP that were seen and that it does not allow, as no rule can name them. */
  readonly unnamed: number
  /** By template, what stood for its `*`. */
  readonly examples: ReadonlyMap<string, readonly string[]>
}

/** `id` is that of no rule yet. */
interface Draft extends LearnedRule {
  readonly origin: Parameters<typeof ruleId>[0]
  readonly verb: string
}

/** What rules there are already. */
export interface Present {
  readonly ids: Iterable<string>
  /** Whether this rule can stand beside them. */
  readonly takes: (rule: RuleSpec) => boolean
}

const UNNAMED = 'learned'

/** What was refused stands last. */
export function learnedRules(traffic: Traffic, { ids, takes }: Present): LearnedRule[] {
  const services = [...traffic.services.values()]
  const inspecting = services.flatMap((service) =>
    methodsAlike(service, traffic).map((alike) => draftOf(service, alike)),
  )
  const passing = [...traffic.passthroughs.values()].flatMap((passed): Draft[] => {
    const draft = passthroughDraft(passed)
    // What is looked into can not be passed through as well (core/rule-overlap.ts). SECURITY: of the two, what is looked into stays.
    if (!inspecting.some((other) => sameOrigin(draft, other)) && takes(draft.spec)) return [draft]
    leaveOut(traffic, 'passed through undecrypted, to where another rule looks into requests', passed.seen.count)
    return []
  })
  const taken = new Set(ids)
  return [...inspecting, ...passing].sort(inOrder).map(({ origin, verb, ...rule }) => ({
    ...rule,
    spec: { ...rule.spec, id: ruleId(origin, verb, taken) },
  }))
}

function sameOrigin({ origin: a }: Draft, { origin: b }: Draft): boolean {
  return a.client === b.client && a.host.text === b.host.text && a.scheme === b.scheme && a.port === b.port
}

function inOrder(one: Draft, other: Draft): number {
  if (one.refused !== other.refused) return one.refused ? 1 : -1
  const [a, b] = [one, other].map(({ spec, verb }) => JSON.stringify([spec.clients, spec.match, verb, spec]))
  return (a ?? '') < (b ?? '') ? -1 : 1
}

function draftOf(service: Service, { methods, globs, mcp, unnamed, seen, examples }: MethodsAlike): Draft {
  const { client, scheme, upgrade, encodedSlash, refused } = service
  const verb = upgrade ? 'websocket' : verbOf(methods)
  const match = {
    ...placeOf(service),
    ...(scheme === 'http' ? { schemes: [scheme] } : {}),
    methods: methods.sort(),
    paths: globs,
    ...(upgrade ? { upgrade: ['websocket'] } : {}),
    ...(encodedSlash ? { encodedSlash } : {}),
  }
  const conditions = mcp === null ? {} : { mcp }
  const spec: RuleSpec = { id: UNNAMED, clients: [client], kind: 'allow', match, ...conditions }
  return { spec, seen, refused, unnamed, examples, origin: service, verb: refused ? `${verb}-refused` : verb }
}

function passthroughDraft({ asked, seen }: PassedThrough): Draft {
  const spec: RuleSpec = { id: UNNAMED, clients: [asked.client], kind: 'passthrough', match: placeOf(asked) }
  return { spec, seen, refused: false, unnamed: 0, examples: new Map(), origin: asked, verb: 'passthrough' }
}

function placeOf(origin: Draft['origin']): { hosts: string[]; ports?: number[] } {
  const { scheme, port } = origin
  return { hosts: [hostOf(origin)], ...(port === DEFAULT_PORT[scheme] ? {} : { ports: [port] }) }
}
