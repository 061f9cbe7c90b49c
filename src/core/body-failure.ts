// What of a body keeps a rule from allowing it.

import type { ReadBody } from './body.ts'
import { type CompiledCondition, unmet } from './body-condition.ts'
import { graphqlFailure } from './graphql.ts'
import { hintForBody } from './hint.ts'
import { mcpFailure } from './mcp.ts'
import type { McpFields } from './mcp-fields.ts'
import type { Subject } from './rule.ts'
import type { CompiledRule } from './rule-compile.ts'

/** A request with what is known of its body. `empty`: it has none, or one of no bytes. */
export interface Inspected {
  readonly subject: Subject
  readonly empty: boolean
  readonly read: ReadBody
  readonly mcpFields?: McpFields | undefined
}

export interface BodyFailure {
  /** The first thing that is wrong: `$.Bcc must be-absent`. */
  readonly why: string
  /** Everything that is not as the rule wants it, for `security_flags`: `body_rule:$.Bcc`. */
  readonly flags: readonly string[]
}

const KINDS = { json: 'JSON', form: 'forms', multipart: 'form data' } as const

/** The rule called `id` and what it has against the body, as a denial says it. */
export function hintForFailure(id: string, { why }: BodyFailure): string {
  return hintForBody(id, why)
}

/** Null: the rule allows it. SECURITY: a rule that is gone, or has nothing to say of bodies any more, grants nothing. */
export function bodyFailure(rule: CompiledRule | undefined, inspected: Inspected): BodyFailure | null {
  const inspection = rule?.inspection ?? null
  if (inspection === null) return { why: 'the rule has changed in the meantime', flags: [] }
  const { conditions, mcp, graphql } = inspection
  return (
    (conditions === null ? null : conditionFailure(conditions, inspected.read)) ??
    (mcp === null ? null : mcpFailure(mcp, inspected)) ??
    (graphql === null ? null : graphqlFailure(graphql, inspected))
  )
}

function conditionFailure(conditions: readonly CompiledCondition[], read: ReadBody): BodyFailure | null {
  if (read.kind === 'bad') return { why: read.why, flags: [] }
  const failed = unmet(conditions, read.content)
  if (failed === null) return { why: `it says nothing of bodies that are ${KINDS[read.content.kind]}`, flags: [] }
  const [first] = failed
  return first === undefined ? null : { why: first.text, flags: failed.map(({ spec }) => `body_rule:${spec.path}`) }
}
