// Hosts of rules beside those that a trail asks for: `*.example.com` where only the apex was, `example.com` where only names below it were.

import type { RuleLint } from '../config/lint.ts'
import type { Subject } from '../core/rule.ts'
import { type CompiledRule, matchesClient } from '../core/rule-compile.ts'

interface Wanted {
  readonly rule: CompiledRule
  readonly index: number
  readonly name: string
  /** The pattern was asked for as it is written. */
  met: boolean
  /** Requests that were refused for want of it in its other form, and the host of the first. */
  refused: number
  instead: string
}

/** By name: of `*.name`, and of `name` itself. */
export interface AskedHosts {
  readonly children: ReadonlyMap<string, readonly Wanted[]>
  readonly exact: ReadonlyMap<string, readonly Wanted[]>
}

export interface UnmetHost {
  readonly rule: CompiledRule
  readonly lint: RuleLint
}

export function wantedHosts(rules: readonly CompiledRule[]): AskedHosts {
  const children = new Map<string, Wanted[]>()
  const exact = new Map<string, Wanted[]>()
  for (const rule of rules) {
    for (const [index, pattern] of rule.hosts.entries()) {
      if (pattern.kind !== 'children' && pattern.kind !== 'exact') continue
      const [map, name] = pattern.kind === 'exact' ? [exact, pattern.text] : [children, pattern.base]
      const wanted = { rule, index, name, met: false, refused: 0, instead: '' }
      const list = map.get(name)
      if (list === undefined) map.set(name, [wanted])
      else list.push(wanted)
    }
  }
  return { children, exact }
}

/** `isRefused`: no rule is for it. It is asked only where that matters. */
export function noteHost({ children, exact }: AskedHosts, { client, host }: Subject, isRefused: () => boolean): void {
  if (host.kind !== 'name') return
  const [, ...above] = host.text.split('.').map((_, index, labels) => labels.slice(index).join('.'))
  for (const wanted of exact.get(host.text) ?? []) wanted.met = true
  for (const wanted of children.get(above[0] ?? '') ?? []) wanted.met = true
  const missed = [...(children.get(host.text) ?? []), ...above.flatMap((name) => exact.get(name) ?? [])]
  const concerned = missed.filter(({ rule, met }) => !met && matchesClient(rule, client))
  if (concerned.length === 0 || !isRefused()) return
  for (const wanted of concerned) {
    if (wanted.refused === 0) wanted.instead = host.text
    wanted.refused += 1
  }
}

export function unmetHosts({ children, exact }: AskedHosts): readonly UnmetHost[] {
  const unmet = (all: AskedHosts['exact']): readonly Wanted[] =>
    [...all.values()].flat().filter(({ met, refused }) => !met && refused > 0)
  const apex = unmet(children).map(({ rule, index, name }): UnmetHost => {
    const message = `*.${name} does not match ${name}, which is what the trail asks for`
    return { rule, lint: { at: [rule.kind, 'hosts', index], message, fix: `write **.${name}, or ${name}` } }
  })
  const below = unmet(exact).map(({ rule, index, name, instead }): UnmetHost => {
    const message = `${name} does not match ${instead}, and the trail asks only for names below it`
    return { rule, lint: { at: [rule.kind, 'hosts', index], message, fix: `write ${instead}, or **.${name}` } }
  })
  return [...apex, ...below]
}
