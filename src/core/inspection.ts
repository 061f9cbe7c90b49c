// What a rule looks at a body for, compiled: conditions on its members, MCP, GraphQL, its shape.

import { type CompiledCondition, compileCondition } from './body-condition.ts'
import { type CompiledGraphql, compileGraphql } from './graphql.ts'
import { type CompiledMcp, compileMcp } from './mcp.ts'
import type { Demand, RuleSpec, ShapeMode } from './rule.ts'
import type { Complain } from './rule-check.ts'

/** Null where the rule says nothing of the matter. */
export interface Inspection {
  readonly conditions: readonly CompiledCondition[] | null
  readonly mcp: CompiledMcp | null
  readonly graphql: CompiledGraphql | null
  readonly shape: ShapeMode | null
  /** All that can deny, as written: two rules with equal demands allow the same bodies. */
  readonly demands: readonly Demand[]
}

const NO_DEMANDS: readonly Demand[] = []
const BODY_KINDS = ['json', 'form', 'multipart'] as const

/** Null where the rule does not look at bodies. What is wrong goes to `complain`. */
export function compileInspection(spec: RuleSpec, complain: Complain): Inspection | null {
  const { body, mcp, graphql, shape } = spec
  if (body === undefined && mcp === undefined && graphql === undefined && shape === undefined) return null
  return {
    conditions: compileConditions(spec, complain),
    mcp: mcp === undefined ? null : compileMcp(mcp, complain),
    graphql: graphql === undefined ? null : compileGraphql(graphql, complain),
    shape: shape ?? null,
    demands: demandsOf(spec),
  }
}

/** Null, or a rule that is gone: it demands nothing. */
export function demandsBy(inspection: Inspection | null | undefined): readonly Demand[] {
  return inspection?.demands ?? NO_DEMANDS
}

function demandsOf({ body, mcp, graphql, shape }: RuleSpec): readonly Demand[] {
  const demands: Demand[] = BODY_KINDS.flatMap((kind) => body?.[kind] ?? [])
  if (mcp !== undefined) demands.push({ in: 'mcp', ...mcp })
  if (graphql !== undefined) demands.push({ in: 'graphql', ...graphql })
  if (shape === 'enforce') demands.push({ in: 'shape' })
  return demands
}

function compileConditions({ body }: RuleSpec, complain: Complain): readonly CompiledCondition[] | null {
  if (body === undefined) return null
  return BODY_KINDS.flatMap((kind) =>
    (body[kind] ?? []).flatMap((condition, index) => {
      const result = compileCondition(condition)
      if (result.kind === 'ok') return [result.condition]
      complain(`body.${kind}[${index}]`, result.why, result.fix)
      return []
    }),
  )
}
