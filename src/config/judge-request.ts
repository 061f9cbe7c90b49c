// The decision for a request that is only described, by the same parsers and the same judge as one that arrives.

import { formatHost } from '../core/address.ts'
import { classifyAddress, judgeAddress } from '../core/address-class.ts'
import { type Considered, considered } from '../core/considered.ts'
import { tokenClients } from '../core/identity.ts'
import { parseAbsoluteForm } from '../core/path.ts'
import { couldAllowAny, decide, passthroughRule } from '../core/policy.ts'
import { REFUSALS, type Reason } from '../core/refusal.ts'
import type { Demand, Subject } from '../core/rule.ts'
import type { Config } from './load.ts'

/** What would become of a request. Nothing is resolved, so what a name's addresses would say is not in it. */
export interface JudgedRequest {
  readonly decision: 'allow' | 'deny'
  /** False in observe mode, where policy's denials are recorded and not enforced. */
  readonly enforced: boolean
  /** The rule that decided; of several that depend on the body, the first. */
  readonly rule: string | null
  readonly reason: Reason | null
  /** One sentence: what the decision rests on. */
  readonly why: string
  /** What to change to have it allowed; empty where it is. */
  readonly hint: string
  /** What the body must meet for `allow` to hold. */
  readonly conditions: readonly Demand[]
  readonly client: string
  readonly method: string
  readonly url: string
}

type Outcome = Omit<JudgedRequest, 'client' | 'method' | 'url'>

/** A listener on one of these has every address of the machine; loopback is what is known of them here. */
const WILDCARDS: readonly string[] = ['0.0.0.0', '::']

/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/** `url` is absolute. `ws:` and `wss:` are read as http and https with a WebSocket upgrade (RFC 6455 §3). */
export function judgeRequest(config: Config, client: string, method: string, url: string): JudgedRequest {
  return { ...outcome(config, client, method, url), client, method, url }
}

/** The rules that name its host, each with what it lacks; none where policy is not asked. */
export function considerRequest(config: Config, client: string, method: string, url: string): Considered {
  const read = readRequest(client, method, url)
  if (read.kind === 'refused' || judgeLiteral(config, read.request) !== null) return { rules: [], omitted: 0 }
  return considered(config.policy, read.request)
}

function outcome(config: Config, client: string, method: string, url: string): Outcome {
  const read = readRequest(client, method, url)
  if (read.kind === 'refused') return read.outcome
  const { scheme, host, port } = read.request
  const literal = judgeLiteral(config, read.request)
  if (literal !== null) return literal
  const spliced =
    scheme === 'https' && host.kind === 'name' ? passthroughRule(config.policy, { client, host, port }) : null
  if (spliced !== null) return allowed(spliced, `rule ${spliced} passes the connection through undecrypted`)
  return judged(config, read.request)
}

/** `outcome`: what no policy has a say in. */
type ReadRequest =
  | { readonly kind: 'request'; readonly request: Subject }
  | { readonly kind: 'refused'; readonly outcome: Outcome }

/** A request as policy takes it. */
export function readRequest(client: string, method: string, url: string): ReadRequest {
  if (!TOKEN.test(method)) {
    return { kind: 'refused', outcome: refused('malformed', `${JSON.stringify(method)} is not a method`) }
  }
  const webSocket = /^wss?:\/\//i.test(url)
  const target = parseAbsoluteForm(webSocket ? `http${url.slice(2)}` : url)
  if (target.kind === 'bad') return { kind: 'refused', outcome: refused(target.reason, target.why) }
  const { scheme, origin } = target
  const { host, port } = target.authority
  const { path, encodedSlash, target: sent } = origin
  const upgrade = webSocket ? 'websocket' : null
  const request = { client, scheme, method, host, port, path, encodedSlash, target: sent, upgrade, overrideHeaders: [] }
  return { kind: 'request', request }
}

/** As the proxy does, before policy: no rule opens an address that is denied. */
function judgeLiteral({ listen, upstream }: Config, { host, port }: Subject): Outcome | null {
  if (host.kind === 'name') return null
  const verdict = judgeAddress(upstream.addresses, host.text)
  const isLoopback = classifyAddress(host.text) === 'loopback'
  const isOurs = Object.values(listen)
    .flat()
    .flatMap((address) => (address.kind === 'tcp' && address.port === port ? [address] : []))
    .some((address) => address.host === host.text || (isLoopback && WILDCARDS.includes(address.host)))
  if (isOurs) return refused('self', 'the destination is a listener of the proxy')
  return verdict.allowed ? null : refused('address_denied', `${formatHost(host)} is a ${verdict.cls} address`)
}

function judged({ policy, identity }: Config, request: Subject): Outcome {
  const verdict = decide(policy, request)
  if (verdict.kind === 'permit') return allowed(verdict.permit.rule, `rule ${verdict.permit.rule} matches`)
  if (verdict.kind === 'needs-body') {
    const [first] = verdict.candidates
    const rules = verdict.candidates.map(({ rule }) => rule).join(', ')
    // A shape that is learned, or that only flags what it has not seen.
    const isOpen = verdict.candidates.every(({ demands }) => demands.length === 0)
    const why = `rule ${rules} matches${isOpen ? '' : ' if the body meets its conditions'}`
    return { ...allowed(first?.rule ?? null, why), conditions: first?.demands ?? [] }
  }
  const { reason, rule, hint, observed } = verdict
  const other = reason === 'no_matching_rule' ? couldAllowAny(policy, tokenClients(identity), request) : null
  const credentials = other === null || other === request.client ? '' : `; client ${other} may go there, with its token`
  return {
    decision: 'deny',
    enforced: observed === null,
    rule,
    reason,
    why: REFUSALS[reason].summary,
    hint: `${hint}${credentials}`,
    conditions: [],
  }
}

function allowed(rule: string | null, why: string): Outcome {
  return { decision: 'allow', enforced: true, rule, reason: null, why, hint: '', conditions: [] }
}

/** Refused in observe mode too: policy has no say in it. */
function refused(reason: Reason, detail: string): Outcome {
  const why = REFUSALS[reason].summary
  return { decision: 'deny', enforced: true, rule: null, reason, why, hint: detail, conditions: [] }
}
