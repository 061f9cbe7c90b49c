// What is legal in a configuration and yet can hardly be meant: rules that never count, and matchers that match nothing or too much.

import type { CompiledRule } from '../core/rule-compile.ts'
import { lintClients } from './lint-client.ts'
import { lintCover } from './lint-cover.ts'
import { lintDomains } from './lint-domain.ts'
import { lintRequests } from './lint-request.ts'
import type { Config } from './load.ts'
import type { Finding, Place } from './problem.ts'

/** Of one rule, at a place within it. */
export interface RuleLint {
  readonly at: Place
  readonly message: string
  readonly fix: string
}

/** In the order of the rules. Each holds for every request there could be: nothing is said that some request would prove wrong. */
export function lint(config: Config): readonly Finding[] {
  const rules = [...config.policy.rules.values()]
  const cover = lintCover(rules)
  const found = rules.map((rule) => [
    ...cover(rule),
    ...lintRequests(rule, config.upstream.addresses),
    ...lintDomains(rule),
  ])
  return [
    ...rules.flatMap((rule, index) => found[index]?.flatMap((one) => inFile(config, rule, one)) ?? []),
    ...lintClients(config),
  ]
}

/** Where it stands in the file: what is said of an operation, at the rule that names it. A rule of the command line stands nowhere. */
export function inFile({ origins }: Config, rule: CompiledRule, { at, message, fix }: RuleLint): readonly Finding[] {
  const origin = origins[rule.order]
  if (origin === undefined) return []
  const { index, operation } = origin
  if (operation === null) return [{ place: ['rules', index, ...at], message, fix }]
  return [{ place: ['rules', index, 'openapi'], message: `${operation}: ${message}`, fix }]
}
