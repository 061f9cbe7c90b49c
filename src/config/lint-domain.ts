// Wildcards that reach names of several owners.

import type { CompiledRule } from '../core/rule-compile.ts'
import type { RuleLint } from './lint.ts'
import { SHARED_DOMAINS } from './lint-shared-domains.ts'

const SHARED: ReadonlySet<string> = new Set(SHARED_DOMAINS)

/**
 * `**.amazonaws.com`: no public suffix itself, which would be an error, but there are some below it, and with them registrable domains of
 * strangers. `*.` reaches none of those: they are at least two labels further down.
 */
export function lintDomains({ kind, hosts }: CompiledRule): readonly RuleLint[] {
  if (kind === 'deny') return []
  return hosts.flatMap((pattern, index): RuleLint[] => {
    if (pattern.kind !== 'subtree' || !SHARED.has(pattern.base)) return []
    const message = `**.${pattern.base} reaches domains of several owners: anybody can have a name below some of its names`
    const fix = `name the hosts, or write *.${pattern.base} for one label more`
    return [{ at: [kind, 'hosts', index], message, fix }]
  })
}
