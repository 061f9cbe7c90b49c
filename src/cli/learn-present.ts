// What the policy in force says of what was learned: whether there is something to add, and whether a rule could add it.

import type { TrailRecord } from '../audit/read.ts'
import { judgeRequest } from '../config/judge-request.ts'
import type { Config } from '../config/load.ts'
import { compilePolicy, passthroughRule } from '../core/policy.ts'
import type { RuleSpec } from '../core/rule.ts'
import { urlOf } from './audit-text.ts'
import type { LearnedPassthrough, LearnedRequest } from './learn-request.ts'

/** `why`: what denies it is no want of a rule. */
export type PresentVerdict =
  | { readonly kind: 'allowed' }
  | { readonly kind: 'wanting' }
  | { readonly kind: 'left-out'; readonly why: string }

const WANTING: ReadonlySet<unknown> = new Set(['no_matching_rule', 'upgrade_denied', 'path_not_canonical'])

export function presentVerdict(
  config: Config,
  decided: TrailRecord,
  learned: LearnedRequest | LearnedPassthrough,
): PresentVerdict {
  const { client } = learned
  if (learned.kind === 'passthrough') {
    return { kind: passthroughRule(config.policy, learned) === null ? 'wanting' : 'allowed' }
  }
  const url = urlOf(decided)
  const judged = judgeRequest(config, client, learned.method, learned.upgrade ? `ws${url.slice('http'.length)}` : url)
  if (judged.decision === 'allow') return { kind: 'allowed' }
  if (WANTING.has(judged.reason)) return { kind: 'wanting' }
  return { kind: 'left-out', why: `denied now, and no rule would change that: ${judged.reason}` }
}

/** Whether `rule` can stand beside the rules that there are; its client may be a new one. */
export function takesRule({ mode, clients, rules }: Config, rule: RuleSpec): boolean {
  const names = rule.clients ?? []
  const added = names.filter((name) => name !== 'anonymous' && !clients.some((client) => client.name === name))
  const all = [...clients, ...added.map((name) => ({ name, token: `of-${name}` }))]
  return compilePolicy({ mode, clients: all, rules: [...rules, rule] }).kind === 'ok'
}
