// One recorded request and the policy as it is now: decided alike, otherwise, or not to be told from a trail.

import type { TrailRecord } from '../audit/read.ts'
import { judgeRequest } from '../config/judge-request.ts'
import type { Config } from '../config/load.ts'
import { parseHost } from '../core/address.ts'
import { couldAllow, passthroughRule } from '../core/policy.ts'
import { clientName, urlOf } from './audit-text.ts'

export interface Decided {
  readonly decision: 'allow' | 'deny'
  readonly rule: string | null
  readonly reason: string | null
}

export type Compared =
  | { readonly kind: 'same' }
  | { readonly kind: 'changed'; readonly was: Decided; readonly now: Decided & { readonly hint: string } }
  /** `why`: what a trail does not hold, or what no policy decides. */
  | { readonly kind: 'open'; readonly why: string }

/** What policy says by itself, from nothing but client, method and URL. Bodies, header fields and used-up limits are not in a trail. */
const BY_POLICY: ReadonlySet<unknown> = new Set([
  null,
  'no_matching_rule',
  'denied_by_rule',
  'upgrade_denied',
  'path_not_canonical',
  'address_denied',
  'self',
])
const SWITCHED = 101
/** What denied it was a secret, or a placeholder, in the request itself. */
const OF_SECRETS = /^(?:secret|inject):/

const open = (why: string): Compared => ({ kind: 'open', why })

/** `status`: of the answer, null where none is known. */
export function compare(config: Config, decided: TrailRecord, status: number | null): Compared {
  const was = {
    decision: decided['decision'] === 'allow' ? 'allow' : 'deny',
    rule: textOf(decided['rule']),
    reason: textOf(decided['reason']),
  } as const
  const client = clientName(decided)
  if (typeof client !== 'string' || typeof decided['host'] !== 'string') return open('it names no destination')
  if (!BY_POLICY.has(was.reason)) return open(was.reason ?? '')
  const { method } = decided
  if (typeof method !== 'string') return comparePassed(config, client, decided, was)
  if (was.rule !== null && OF_SECRETS.test(was.rule)) return open('its secrets are not in a trail')
  if (decided['path'] === '*') return open('it asks for no path')
  const url = urlOf(decided)
  const judged = judgeRequest(config, client, method, status === SWITCHED ? `ws${url.slice(4)}` : url)
  const { decision, rule, reason, hint, conditions } = judged
  if (decision === was.decision) return conditions.length > 0 ? open('its body decides') : { kind: 'same' }
  // The fingerprint that stands in the place of a secret is not what was judged.
  if (url.includes('hmac:')) return open('its path is redacted')
  if (decision === 'allow' && conditions.length > 0) return open('its body decides')
  return { kind: 'changed', was, now: { decision, rule, reason, hint } }
}

/** A connection that was spliced: of what was in it nothing is known but the name. */
function comparePassed(config: Config, client: string, decided: TrailRecord, was: Decided): Compared {
  const host = parseHost(String(decided['host']))
  const port = Number(decided['port'])
  if (host === null || was.decision === 'deny') return open('it is no request')
  const rule = passthroughRule(config.policy, { client, host, port })
  if (rule !== null) return { kind: 'same' }
  if (couldAllow(config.policy, { client, host, port, scheme: 'https' }))
    return open('it was passed through undecrypted')
  const hint = 'it was passed through undecrypted, and no rule does that any more'
  return { kind: 'changed', was, now: { decision: 'deny', rule: null, reason: 'no_matching_rule', hint } }
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}
