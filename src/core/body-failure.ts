// What of a body keeps a rule from allowing it.

import type { ReadBody } from './body.ts'
import { unmet } from './body-condition.ts'
import { hintForBody } from './hint.ts'
import type { CompiledRule } from './rule-compile.ts'

export interface BodyFailure {
  readonly hint: string
  /** Every member that is not as the rule wants it, for `security_flags`: `body_rule:$.Bcc`. */
  readonly flags: readonly string[]
}

const KINDS = { json: 'JSON', form: 'forms', multipart: 'form data' } as const

/** Null: the rule allows it. `rule` is the one called `id` now. SECURITY: one that is gone, or has no conditions any more, grants nothing. */
export function bodyFailure(id: string, rule: CompiledRule | undefined, read: ReadBody): BodyFailure | null {
  if (read.kind === 'bad') return { hint: hintForBody(id, read.why), flags: [] }
  if (!rule?.conditions) return { hint: hintForBody(id, 'the rule has changed in the meantime'), flags: [] }
  const failed = unmet(rule.conditions, read.content)
  if (failed === null)
    return { hint: hintForBody(id, `it says nothing of bodies that are ${KINDS[read.content.kind]}`), flags: [] }
  const [first] = failed
  if (first === undefined) return null
  return { hint: hintForBody(id, first.text), flags: failed.map(({ spec }) => `body_rule:${spec.path}`) }
}
