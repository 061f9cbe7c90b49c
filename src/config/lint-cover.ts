// Rules that other rules leave nothing to: never reached, without effect, or with conditions that never count.

import type { HostPattern } from '../core/host-pattern.ts'
import type { RuleSpec } from '../core/rule.ts'
import type { CompiledRule } from '../core/rule-compile.ts'
import { covers, type Dimension, demandsNoMore, narrowed, precedes } from '../core/rule-cover.ts'
import type { RuleLint } from './lint.ts'
import type { Place } from './problem.ts'

/** Of the rules that name one host, how many are held against a rule for it; past them a warning may be missing. */
const MAX_COMPARED = 500

const DIMENSIONS: readonly Dimension[] = ['hosts', 'clients', 'methods', 'paths']

/** What a rule asks of bodies, and what else it may say of the requests it decides, as people call it. */
const DEMANDS: readonly (readonly [keyof RuleSpec, string])[] = [
  ['body', 'body conditions'],
  ['mcp', 'conditions on MCP'],
  ['graphql', 'conditions on GraphQL'],
  ['shape', 'conditions on the shape'],
]
const SETTINGS: readonly (readonly [keyof RuleSpec, string])[] = [
  ['rate', 'rate'],
  ['limits', 'limits'],
  ['audit', 'audit'],
]

/** What can be said of one of `rules`, beside the others. */
export function lintCover(rules: readonly CompiledRule[]): (rule: CompiledRule) => readonly RuleLint[] {
  const others = byHost(rules)
  return (rule) => {
    const whole = lintWhole(rule, others)
    return whole === null ? DIMENSIONS.flatMap((dimension) => lintValues(rule, dimension, others)) : [whole]
  }
}

/** The worst that can be said of the rule as a whole. */
function lintWhole(rule: CompiledRule, others: ByHost): RuleLint | null {
  const found = wider(rule, others)
  const denying = rule.kind === 'deny' ? undefined : found.find(({ kind }) => kind === 'deny')
  if (denying !== undefined) return unreachable(rule, [denying.id])
  const alike = found.filter(({ kind }) => kind === rule.kind)
  const weaker = alike.find((other) => asksLess(other, rule))
  if (weaker !== undefined) return uncounted(rule, weaker, [demandsOf(rule)[0]?.[0] ?? ''], '')
  const first = alike.find((other) => precedes(other, rule) && demandsNoMore(other, rule))
  if (first !== undefined) return shadowed(rule, first)
  const enough = alike.find((other) => saysTheSame(other, rule))
  if (enough !== undefined) return redundant(rule, enough)
  return lintPassed(rule, found)
}

/** One value of a dimension. Where all values of one are denied, so is the rule, if by several others. */
function lintValues(rule: CompiledRule, dimension: Dimension, others: ByHost): readonly RuleLint[] {
  if (rule.kind === 'deny') return []
  const values = [...(rule[dimension] ?? [])]
  const found = values.map((value, index) => {
    const alone = narrowed(rule, dimension, index)
    const covering = alone === null ? [] : wider(alone, others)
    const at = placeOf(rule, dimension, index)
    const denying = covering.find(({ kind }) => kind === 'deny')
    const weaker = covering.find((other) => other.kind === rule.kind && asksLess(other, rule))
    return { at, shown: shownValue(value), denying, weaker }
  })
  const denying = found.flatMap((one) => one.denying?.id ?? [])
  if (values.length > 1 && denying.length === values.length) return [unreachable(rule, denying)]
  return found.flatMap(({ at, shown, denying: by, weaker }): RuleLint[] => {
    if (by !== undefined) {
      const message = `${shown} is never allowed here: rule ${by.id} denies all of it`
      return [{ at, message, fix: `remove it, or narrow rule ${by.id}` }]
    }
    return weaker === undefined ? [] : [uncounted(rule, weaker, at, ` for ${shown}`)]
  })
}

function unreachable(rule: CompiledRule, ids: readonly string[]): RuleLint {
  const by = [...new Set(ids)]
  const named = `rule${by.length === 1 ? '' : 's'} ${by.join(' and ')}`
  const message = `unreachable: ${named} ${by.length === 1 ? 'denies' : 'deny'} all of its requests`
  return { at: [], message, fix: `remove rule ${rule.id}, or narrow ${named}` }
}

function uncounted(rule: CompiledRule, weaker: CompiledRule, at: Place, what: string): RuleLint {
  const demands = demandsOf(rule).map(([, words]) => words)
  const without = weaker.inspection === null ? 'without them' : 'with fewer of them'
  const message = `its ${demands.join(' and ')} never count${what}: rule ${weaker.id} allows the same requests ${without}`
  return { at, message, fix: `narrow rule ${weaker.id}, or give it the same ${demands.join(' and ')}` }
}

function shadowed(rule: CompiledRule, first: CompiledRule): RuleLint {
  const settings = SETTINGS.filter(([key]) => rule.spec[key] !== undefined).map(([, words]) => words)
  const so = settings.length === 0 ? '' : `, which leaves its ${settings.join(' and ')} without effect`
  const message = `shadowed: rule ${first.id}, earlier in the file, decides all of its requests${so}`
  return { at: [], message, fix: `remove one of the two, or narrow rule ${first.id}` }
}

function redundant(rule: CompiledRule, enough: CompiledRule): RuleLint {
  const does = { allow: 'allows', deny: 'denies', passthrough: 'passes through' }[rule.kind]
  const message = `without effect: rule ${enough.id} ${does} all of its requests, and more`
  return { at: [], message, fix: `remove rule ${rule.id}, or narrow rule ${enough.id}` }
}

/** Passthrough of the same connections. Where it finds no name in the clear, the allow rule still decides. */
function lintPassed(rule: CompiledRule, found: readonly CompiledRule[]): RuleLint | null {
  const passing = rule.kind === 'allow' ? found.find(({ kind }) => kind === 'passthrough') : undefined
  const [setting] = SETTINGS.filter(([key]) => rule.spec[key] !== undefined)
  if (passing === undefined || setting === undefined) return null
  const message = `its ${setting[1]} does not count for what rule ${passing.id} passes through unseen, which is all of its hosts`
  return { at: [setting[0]], message, fix: 'keep the hosts in one of the two rules' }
}

/** `other`, which covers `rule`, allows some of its requests that the demands of `rule` would keep back. */
function asksLess(other: CompiledRule, rule: CompiledRule): boolean {
  return rule.inspection !== null && demandsNoMore(other, rule) && !demandsNoMore(rule, other)
}

/** Without `rule`, which `other` covers, nothing would be decided or recorded otherwise but the name of the rule. */
function saysTheSame(other: CompiledRule, rule: CompiledRule): boolean {
  const isPlain = ({ spec }: CompiledRule): boolean => spec.rate === undefined && spec.limits === undefined
  const isEqual = covers(rule, other)
  return (
    rule.inspection === null &&
    other.inspection === null &&
    isPlain(rule) &&
    isPlain(other) &&
    (rule.spec.audit ?? 'metadata') === (other.spec.audit ?? 'metadata') &&
    (!isEqual || other.order < rule.order)
  )
}

function demandsOf({ spec }: CompiledRule): readonly (readonly [string, string])[] {
  return DEMANDS.filter(([key]) => spec[key] !== undefined)
}

function placeOf(rule: CompiledRule, dimension: Dimension, index: number): Place {
  if (dimension === 'clients') return ['clients', index]
  return dimension === 'methods' && rule.spec.match.access !== undefined
    ? [rule.kind, 'access']
    : [rule.kind, dimension, index]
}

type Value = string | HostPattern | { readonly text: string }

function shownValue(value: Value): string {
  if (typeof value === 'string') return value
  if ('text' in value) return value.text
  if (value.kind === 'any') return '*'
  return `${value.kind === 'children' ? '*.' : '**.'}${value.base}`
}

type ByHost = ReadonlyMap<string, readonly CompiledRule[]>

function byHost(rules: readonly CompiledRule[]): ByHost {
  const found = new Map<string, CompiledRule[]>()
  for (const rule of rules) {
    for (const pattern of rule.hosts) {
      const list = found.get(keyOf(pattern))
      if (list === undefined) found.set(keyOf(pattern), [rule])
      else if (list.length < MAX_COMPARED) list.push(rule)
    }
  }
  return found
}

/** The rules that cover `rule`, itself left out. Each of them names its first host, or more than that. */
function wider(rule: CompiledRule, others: ByHost): readonly CompiledRule[] {
  const [first] = rule.hosts
  const keys = first === undefined ? [] : widerKeys(first)
  const found = new Set(keys.flatMap((key) => others.get(key) ?? []))
  return [...found].filter((other) => other.order !== rule.order && covers(other, rule))
}

function keyOf(pattern: HostPattern): string {
  if (pattern.kind === 'any') return '*'
  return pattern.kind === 'exact' ? pattern.text : shownValue(pattern)
}

/** Of each pattern that can cover this one. */
function widerKeys(pattern: HostPattern): readonly string[] {
  if (pattern.kind === 'any') return ['*']
  const name = pattern.kind === 'exact' ? pattern.text : pattern.base
  const above = name.split('.').map((_, index, labels) => labels.slice(index).join('.'))
  const parent = pattern.kind === 'exact' ? [`*.${above[1] ?? ''}`] : []
  return [keyOf(pattern), ...parent, ...above.map((base) => `**.${base}`), '*']
}
