// The buckets of a rule that a request takes from before it may go.

import type { MethodRate, Permit } from '../core/rule.ts'
import { writtenRuleId } from '../core/rule-id.ts'
import type { RateState } from './answer.ts'
import type { Deps } from './deps.ts'

/** Takes from the bucket of the rule, and from one for each method that has a rate of its own; the first that is empty, or null. */
export function usedUp(
  { rule, client, rate }: Permit,
  rates: readonly MethodRate[],
  { limiter, now }: Deps,
): { readonly state: RateState; readonly of: MethodRate | null } | null {
  // SECURITY: the operations of an `openapi` rule share its bucket, or their number would multiply the rate.
  const bucket = writtenRuleId(rule ?? '')
  if (rate !== null) {
    const state = limiter.take(`rule ${bucket} ${client}`, rate, now())
    if (!state.ok) return { state, of: null }
  }
  for (const of of rates) {
    const state = limiter.take(`mcp ${bucket} ${of.method} ${client}`, of.rate, now())
    if (!state.ok) return { state, of }
  }
  return null
}
