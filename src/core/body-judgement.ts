// The second half of a decision, which only the body can make, and what the body says for the record.

import { type InspectedBody, readBody } from './body.ts'
import { type BodyFailure, bodyFailure, hintForFailure, type Inspected } from './body-failure.ts'
import { type GraphqlOperation, readGraphql } from './graphql.ts'
import { type McpMessage, methodRates, recognizeMcp } from './mcp.ts'
import type { Policy } from './policy.ts'
import type { Denial, MethodRate, NeedsBody, Permit, Subject } from './rule.ts'
import { type KnownMembers, judgeShape, NOTHING_NEW, type ShapeJudgement } from './shape.ts'

export interface BodyJudgement {
  readonly verdict: { readonly kind: 'permit'; readonly permit: Permit } | Denial
  /** One for each message whose method has a rate of its own. */
  readonly rates: readonly MethodRate[]
  /** The messages and operations that the body holds, null where it holds none that are known as such. */
  readonly mcp: readonly McpMessage[] | null
  readonly graphql: readonly GraphqlOperation[] | null
  /** Of what is permitted: what of its shape is new. */
  readonly shape: ShapeJudgement
}

/** By the policy that gave `needs`. The first candidate whose demands are met wins. */
export function judgeBody(
  policy: Policy,
  subject: Subject,
  needs: NeedsBody,
  body: InspectedBody,
  known: KnownMembers,
): BodyJudgement {
  const read = readBody(body)
  const empty = body.complete && body.bytes.length === 0 && body.undecodable === null
  const { mcpFields } = body
  const inspected: Inspected = { subject, empty, read, mcpFields }
  const mcp = mcpFields?.recognized === true || expects(policy, needs, 'mcp') ? recognizeMcp(read) : null
  const failures: BodyFailure[] = []
  for (const { rule: id, permit } of needs.candidates) {
    const rule = policy.rules.get(id)
    const failure = bodyFailure(rule, inspected)
    const shape = failure === null ? judgeShape(id, rule?.inspection?.shape ?? null, inspected, known) : NOTHING_NEW
    const unmet = failure ?? shape.failure
    if (unmet === null) {
      const verdict = { kind: 'permit', permit } as const
      return {
        verdict,
        rates: methodRates(rule?.inspection?.mcp ?? null, mcp),
        mcp,
        graphql: readOperations(policy, needs, inspected),
        shape,
      }
    }
    failures.push(unmet)
  }
  const verdict = denied(needs, failures)
  return { verdict, rates: [], mcp, graphql: readOperations(policy, needs, inspected), shape: NOTHING_NEW }
}

function readOperations(policy: Policy, needs: NeedsBody, { read }: Inspected): readonly GraphqlOperation[] | null {
  return expects(policy, needs, 'graphql') ? readGraphql(read) : null
}

/** Both look like any other JSON: they are read as such only where a rule, or the head of the request, takes it for that. */
function expects(policy: Policy, { candidates }: NeedsBody, what: 'mcp' | 'graphql'): boolean {
  return candidates.some(({ rule }) => (policy.rules.get(rule)?.inspection?.[what] ?? null) !== null)
}

function denied({ candidates, observed }: NeedsBody, [first]: readonly BodyFailure[]): Denial {
  const rule = candidates[0]?.rule ?? null
  const why = first ?? { why: 'no rule is left to judge the body by', flags: [] }
  return {
    kind: 'denial',
    reason: 'body_rule',
    rule,
    hint: hintForFailure(rule ?? '-', why),
    flags: why.flags,
    observed,
  }
}
