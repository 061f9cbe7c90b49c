// Whether one rule leaves nothing to another: which rule matches all that the other one matches, by dimension. A no may be a yes not seen.

import { compilePathGlob, matchPathGlob, type PathGlob } from './glob.ts'
import type { HostPattern } from './host-pattern.ts'
import type { Demand } from './rule.ts'
import { type CompiledRule, restricts, serviceKeys } from './rule-compile.ts'

/** A port by a scheme is also any port by it: the keys are those of `serviceKeys`, with the scheme in the lowest bit. */
const ANY_PORT: readonly number[] = [serviceKeys('http', 0)[1], serviceKeys('https', 0)[1]]

/**
 * Whether every request that `inner` matches is matched by `outer` too. Where `inner` allows or passes through, that is every request it
 * lets go on: upgrades, %2F and override headers count. Body demands do not: see `demandsNoMore`.
 */
export function covers(outer: CompiledRule, inner: CompiledRule): boolean {
  return (
    coversSet(outer.clients, inner.clients) &&
    coversServices(outer, inner) &&
    coversMethods(outer, inner) &&
    coversUpgrades(outer, inner) &&
    coversPaths(outer, inner) &&
    inner.hosts.every((pattern) => outer.hosts.some((wider) => coversHost(wider, pattern)))
  )
}

/** Whether `outer`, which covers `inner`, also decides before it: as specific a host, and earlier in the file. */
export function precedes(outer: CompiledRule, inner: CompiledRule): boolean {
  const isSame = (a: HostPattern, b: HostPattern): boolean => a.kind === b.kind && textOf(a) === textOf(b)
  return outer.order < inner.order && inner.hosts.every((one) => outer.hosts.some((other) => isSame(one, other)))
}

/** Whether every body that `inner` allows is allowed by `outer` too. */
export function demandsNoMore(outer: CompiledRule, inner: CompiledRule): boolean {
  if (outer.inspection === null) return true
  if (inner.inspection === null) return false
  const [wanted, given] = [keysByKind(outer.inspection.demands), keysByKind(inner.inspection.demands)]
  // A kind of body that has no condition is not allowed: fewer kinds are another demand, fewer conditions of a kind a smaller one.
  if (wanted.size !== given.size) return false
  return [...wanted].every(([kind, keys]) => {
    const others = given.get(kind)
    if (others === undefined) return false
    return isCondition(kind) ? keys.every((key) => others.includes(key)) : keys.join() === others.join()
  })
}

/** Dimensions in which a rule lists values. */
export type Dimension = 'clients' | 'hosts' | 'methods' | 'paths'

/** What `rule` is with the one value at `index` of `dimension` alone; null where it lists no other value there anyway. */
export function narrowed(rule: CompiledRule, dimension: Dimension, index: number): CompiledRule | null {
  const values = rule[dimension]
  const list = values === null ? [] : [...values]
  const value = list[index]
  if (value === undefined || list.length < 2) return null
  const alone = dimension === 'hosts' || dimension === 'paths' ? [value] : new Set([value])
  return { ...rule, [dimension]: alone }
}

/** Whether every path that matches `inner` matches `outer`. */
export function coversGlob(outer: PathGlob, inner: PathGlob): boolean {
  if (inner.literal) return matchPathGlob(outer, inner.text)
  // Each wildcard of `inner` is one token that only a wildcard of `outer` can take, `**` by nothing but `**`: a `*` takes no slash, and
  // a slash of `outer` is never without its mark. No path holds a control character.
  const marked = (text: string): string => text.replaceAll('/', '\u0001/')
  const tokens = marked(inner.text).replaceAll('**', '\u0002/').replaceAll('*', '\u0003')
  return matchPathGlob(compilePathGlob(marked(outer.text)), tokens)
}

/** Whether every host that matches `inner` matches `outer`. */
export function coversHost(outer: HostPattern, inner: HostPattern): boolean {
  if (outer.kind === 'any') return true
  if (inner.kind === 'any') return false
  const name = textOf(inner)
  if (outer.kind === 'exact') return inner.kind === 'exact' && name === outer.text
  if (outer.kind === 'subtree') return name === outer.base || name.endsWith(`.${outer.base}`)
  if (inner.kind === 'children') return name === outer.base
  return inner.kind === 'exact' && name.slice(name.indexOf('.') + 1) === outer.base && name !== outer.base
}

function textOf(pattern: HostPattern): string {
  if (pattern.kind === 'any') return '*'
  return pattern.kind === 'exact' ? pattern.text : pattern.base
}

function coversSet<T>(outer: ReadonlySet<T> | null, inner: ReadonlySet<T> | null): boolean {
  return outer === null || (inner !== null && [...inner].every((value) => outer.has(value)))
}

function coversServices({ services: outer }: CompiledRule, { services: inner }: CompiledRule): boolean {
  if (outer === null) return true
  if (inner === null) return false
  return [...inner].every((key) => outer.has(key) || (key >= 0 && outer.has(ANY_PORT[key % 2] as number)))
}

function coversMethods(outer: CompiledRule, inner: CompiledRule): boolean {
  if (outer.methods !== null || inner.methods === null) return coversSet(outer.methods, inner.methods)
  // An allow rule without methods is for all but TRACE.
  return outer.kind !== 'allow' || !inner.methods.has('TRACE')
}

/** A deny rule with upgrades denies them alone, an allow rule with upgrades allows them beside the rest. */
function coversUpgrades(outer: CompiledRule, inner: CompiledRule): boolean {
  if (inner.kind === 'passthrough')
    return outer.kind === 'passthrough' || (!restricts(outer) && outer.upgrades === null)
  if (outer.kind === 'allow') return [...(inner.upgrades ?? [])].every((token) => outer.upgrades?.has(token) === true)
  return outer.upgrades === null || (inner.kind === 'deny' && coversSet(outer.upgrades, inner.upgrades))
}

function coversPaths(outer: CompiledRule, inner: CompiledRule): boolean {
  const opensSlash = inner.kind === 'allow' && inner.spec.match.encodedSlash === true
  if (outer.kind === 'allow' && opensSlash && outer.spec.match.encodedSlash !== true) return false
  const { paths, notPaths } = outer
  if (notPaths !== null) return false
  if (paths === null) return true
  return inner.paths?.every((glob) => paths.some((wider) => coversGlob(wider, glob))) === true
}

function isCondition(kind: string): boolean {
  return kind === 'json' || kind === 'form' || kind === 'multipart'
}

function keysByKind(demands: readonly Demand[]): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>()
  for (const demand of demands) {
    const kind = demand.in ?? 'json'
    found.set(kind, [...(found.get(kind) ?? []), JSON.stringify(demand)])
  }
  return found
}
