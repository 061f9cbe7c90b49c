// Makes the `openapi` rules of a file into allow rules, one for each operation, and leads back from those to the file.

import type { RuleSpec } from '../core/rule.ts'
import { type DescriptionRead, readDescription } from './openapi-description.ts'
import { type RulesOfOperations, rulesOfOperations } from './openapi-rule.ts'
import type { Finding, Place } from './problem.ts'
import type { OpenapiRule, WrittenRule } from './schema-openapi.ts'

/** Of a description, in bytes: that of GitHub, one of the largest, has room in it. */
export const MAX_DESCRIPTION_BYTES: number = 16 * 2 ** 20

/** Of a rule: its index among those written, and the operation that it allows; null: it stands there as it is. */
export interface Origin {
  readonly index: number
  readonly operation: string | null
}

/** `rules` and `origins` go together. Places of findings count rules among those written. */
export interface Expanded {
  readonly rules: readonly RuleSpec[]
  readonly origins: readonly Origin[]
  readonly findings: readonly Finding[]
}

/** The text of a file, by its path as written; null: it can not be read, or is over MAX_DESCRIPTION_BYTES. */
export type ReadFile = (path: string) => string | null

/** A file of more has a star too many. */
const MAX_RULES = 10_000

export function expandRules(written: readonly WrittenRule[], readFile: ReadFile): Expanded {
  const rules: RuleSpec[] = []
  const origins: Origin[] = []
  const findings: Finding[] = []
  const descriptions = new Map<string, DescriptionRead>()
  for (const [index, rule] of written.entries()) {
    if (rule.kind !== 'openapi') {
      rules.push(rule)
      origins.push({ index, operation: null })
      continue
    }
    const { file } = rule.openapi
    const description = descriptions.get(file) ?? readFrom(file, readFile)
    descriptions.set(file, description)
    const made = expandRule(rule, description)
    for (const { operation, rule: spec } of made.rules) {
      rules.push(spec)
      origins.push({ index, operation })
    }
    const own = [...made.findings, ...idFindings(rule, written)]
    findings.push(...own.map((finding) => ({ ...finding, place: ['rules', index, ...finding.place] })))
    if (rules.length <= MAX_RULES) continue
    const message = `with this the rules are more than ${MAX_RULES}`
    findings.push({ place: ['rules', index, 'openapi', 'allow'], message, fix: 'name fewer operations' })
    break
  }
  return { rules, origins, findings }
}

/** A problem that policy has with a rule, at `at` within it, where it stands in the file. */
export function findingOf(origin: Origin, at: Place, message: string, fix: string): Finding {
  const { index, operation } = origin
  if (operation === null || at[0] !== 'allow') return { place: ['rules', index, ...at], message, fix }
  return { place: ['rules', index, 'openapi'], message: `${operation}: ${message}`, fix }
}

function readFrom(file: string, readFile: ReadFile): DescriptionRead {
  const text = readFile(file)
  if (text !== null) return readDescription(text)
  const why = `can not be read as UTF-8 text of at most ${MAX_DESCRIPTION_BYTES / 2 ** 20} MiB`
  return { kind: 'bad', why, fix: 'correct the path; it counts from the folder of this file' }
}

function expandRule(rule: OpenapiRule, description: DescriptionRead): RulesOfOperations {
  if (description.kind === 'ok') return rulesOfOperations(rule, description.description)
  const message = `${JSON.stringify(rule.openapi.file)} ${description.why}`
  return { rules: [], findings: [{ place: ['openapi', 'file'], message, fix: description.fix }] }
}

/** What it is made into has other ids, so that policy would not see it. */
function idFindings({ id }: OpenapiRule, written: readonly WrittenRule[]): readonly Finding[] {
  if (written.filter((other) => other.id === id).length === 1) return []
  const message = `another rule is called ${JSON.stringify(id)}`
  return [{ place: ['id'], message, fix: 'give each rule its own id' }]
}
