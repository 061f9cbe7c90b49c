// The index of rules: from a request to the few rules that can match it, whatever their number.

import type { Host } from './address.ts'
import type { PathGlob } from './glob.ts'
import type { CompiledRule } from './rule-compile.ts'

/** Up to this many rules, comparing all of them is cheaper than choosing among them. */
const FEW = 8
/** A dimension in which rules name so many values each that the index would grow by more is not split. */
const MAX_GROWTH = 16
/** Bounds on what of a path is looked up: segments from its start and its end, characters of a literal beginning. */
const START_SEGMENTS = 8
const END_SEGMENTS = 4
const PREFIX_LENGTH = 32

/** What to look up; null leaves a dimension open. Service keys are `CompiledRule.services`. */
export interface Query {
  readonly client: readonly string[] | null
  readonly service: readonly number[] | null
  readonly path: string | null
  readonly method: readonly string[] | null
}

type Dimension = 'client' | 'service' | 'path' | 'method'
type Values = ReadonlyMap<string | number, Node>

/** Rules below it in order of the file. `any`: those that do not name a value in that dimension. */
export type Node =
  | { readonly kind: 'list'; readonly rules: readonly CompiledRule[] }
  | {
      readonly kind: 'split'
      readonly by: 'client' | 'service' | 'method'
      readonly values: Values
      readonly any: Node
    }
  | { readonly kind: 'paths'; readonly probes: readonly Probe[]; readonly any: Node }

/** One literal piece of a path, and the rules with a glob that needs it to be one certain text. */
interface Probe {
  readonly read: (path: string) => string
  readonly values: Values
}

/** `depth`: the most labels that the base of a `**.` pattern has. */
export interface RuleIndex {
  readonly exact: ReadonlyMap<string, Node>
  readonly children: ReadonlyMap<string, Node>
  readonly subtree: ReadonlyMap<string, Node>
  readonly any: Node | null
  readonly depth: number
}

const DIMENSIONS: readonly Dimension[] = ['client', 'service', 'path', 'method']

export function buildIndex(rules: readonly CompiledRule[]): RuleIndex {
  const byHost = { exact: new Map(), children: new Map(), subtree: new Map(), any: new Map() }
  let depth = 0
  for (const rule of rules) {
    for (const pattern of rule.hosts) {
      const key = pattern.kind === 'exact' ? pattern.text : pattern.kind === 'any' ? '' : pattern.base
      addTo(byHost[pattern.kind], key, rule)
      if (pattern.kind === 'subtree') depth = Math.max(depth, pattern.base.split('.').length)
    }
  }
  const nodes = (lists: Map<string, CompiledRule[]>): Map<string, Node> => built(lists, DIMENSIONS)
  const any = nodes(byHost.any).get('') ?? null
  return { exact: nodes(byHost.exact), children: nodes(byHost.children), subtree: nodes(byHost.subtree), any, depth }
}

/** The rules that name `host`, those with the most specific pattern first: at most one node a label. */
export function nodesFor(index: RuleIndex, host: Host): readonly Node[] {
  const found: Node[] = []
  add(found, index.exact.get(host.text))
  if (host.kind === 'name' && index.children.size + index.subtree.size > 0) addPatterns(found, index, host.text)
  if (index.any !== null) found.push(index.any)
  return found
}

function addPatterns(found: Node[], index: RuleIndex, name: string): void {
  const bases: string[] = []
  for (let dot = name.lastIndexOf('.'); dot > 0 && bases.length < index.depth; dot = name.lastIndexOf('.', dot - 1)) {
    bases.push(name.slice(dot + 1))
  }
  const parent = name.slice(name.indexOf('.') + 1)
  add(found, index.subtree.get(name))
  if (parent !== name) add(found, index.children.get(parent))
  for (const base of bases.reverse()) add(found, index.subtree.get(base))
}

function add(found: Node[], node: Node | undefined): void {
  if (node !== undefined) found.push(node)
}

/** The first rule of the file below `node` that passes `test`; rules that cannot match `query` may not be tested. */
export function firstRule(node: Node, query: Query, test: (rule: CompiledRule) => boolean): CompiledRule | null {
  let best: CompiledRule | null = null
  walk(node, query, (rules) => {
    for (const rule of rules) {
      if (best !== null && best.order <= rule.order) break
      if (test(rule)) best = rule
    }
    return false
  })
  return best
}

/** Whether any rule below `node` passes `test`. */
export function someRule(node: Node, query: Query, test: (rule: CompiledRule) => boolean): boolean {
  return walk(node, query, (rules) => rules.some(test))
}

type Visit = (rules: readonly CompiledRule[]) => boolean

/** Gives every list that can hold a match to `visit`, until it returns true. */
function walk(node: Node, query: Query, visit: Visit): boolean {
  if (node.kind === 'list') return visit(node.rules)
  if (node.kind === 'split') {
    const keys = query[node.by]
    return (
      (keys === null ? walkAll(node.values, query, visit) : walkSome(node.values, keys, query, visit)) ||
      walk(node.any, query, visit)
    )
  }
  const { path } = query
  for (const { read, values } of node.probes) {
    const over = path === null ? walkAll(values, query, visit) : walkChild(values.get(read(path)), query, visit)
    if (over) return true
  }
  return walk(node.any, query, visit)
}

function walkChild(child: Node | undefined, query: Query, visit: Visit): boolean {
  return child !== undefined && walk(child, query, visit)
}

function walkSome(values: Values, keys: readonly (string | number)[], query: Query, visit: Visit): boolean {
  for (const key of keys) if (walkChild(values.get(key), query, visit)) return true
  return false
}

function walkAll(values: Values, query: Query, visit: Visit): boolean {
  // One value of ten thousand may be enough for the visitor.
  for (const child of values.values()) if (walk(child, query, visit)) return true
  return false
}

function build(rules: readonly CompiledRule[], dimensions: readonly Dimension[]): Node {
  const [by, ...others] = dimensions
  if (by === undefined || rules.length <= FEW) return { kind: 'list', rules }
  if (by === 'path') return buildPaths(rules, others)
  const lists = new Map<string | number, CompiledRule[]>()
  const open: CompiledRule[] = []
  let named = 0
  for (const rule of rules) {
    const values = valuesOf(rule, by)
    named += values?.size ?? 0
    if (values === null) open.push(rule)
    else for (const value of values) addTo(lists, value, rule)
  }
  if (named === 0 || named > rules.length * MAX_GROWTH) return build(rules, others)
  return { kind: 'split', by, values: built(lists, others), any: build(open, others) }
}

function valuesOf(rule: CompiledRule, by: 'client' | 'service' | 'method'): ReadonlySet<string | number> | null {
  if (by === 'client') return rule.clients
  return by === 'service' ? rule.services : rule.methods
}

/** Each glob is filed under that one of its literal pieces which the fewest other globs share. */
function buildPaths(rules: readonly CompiledRule[], others: readonly Dimension[]): Node {
  const shared = new Map<string, number>()
  const sharers = (piece: Piece): number => shared.get(idOf(piece)) ?? 0
  for (const rule of rules) {
    for (const glob of rule.paths ?? []) {
      for (const piece of piecesOf(glob)) shared.set(idOf(piece), sharers(piece) + 1)
    }
  }
  const open: CompiledRule[] = []
  const probes = new Map<string, { read: Probe['read']; lists: Map<string, CompiledRule[]> }>()
  for (const rule of rules) {
    if (rule.paths === null) open.push(rule)
    for (const glob of rule.paths ?? []) {
      const piece = piecesOf(glob).reduce((a, b) => (sharers(b) < sharers(a) ? b : a))
      const name = `${piece.where}:${piece.at}`
      const probe = probes.get(name) ?? { read: READERS[piece.where](piece.at), lists: new Map() }
      probes.set(name, probe)
      addTo(probe.lists, piece.text, rule)
    }
  }
  const compiled = Array.from(probes.values(), ({ read, lists }) => ({ read, values: built(lists, others) }))
  return { kind: 'paths', probes: compiled, any: build(open, others) }
}

function built<K>(lists: ReadonlyMap<K, readonly CompiledRule[]>, others: readonly Dimension[]): Map<K, Node> {
  return new Map(Array.from(lists, ([key, rules]) => [key, build(rules, others)]))
}

function addTo<K>(lists: Map<K, CompiledRule[]>, key: K, rule: CompiledRule): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [rule])
  // A rule that names the same thing twice is one rule.
  else if (list.at(-1) !== rule) list.push(rule)
}

interface Piece {
  readonly where: 'whole' | 'start' | 'end' | 'prefix'
  readonly at: number
  readonly text: string
}

const READERS: Readonly<Record<Piece['where'], (at: number) => (path: string) => string>> = {
  whole: () => (path) => path,
  start: (at) => (path) => segmentFromStart(path, at),
  end: (at) => (path) => segmentFromEnd(path, at),
  prefix: (at) => (path) => path.slice(0, at),
}

function idOf(piece: Piece): string {
  return `${piece.where}:${piece.at}:${piece.text}`
}

/** Literal pieces that every path matching `glob` has at the same place; at least one. */
function piecesOf(glob: PathGlob): readonly Piece[] {
  if (glob.literal) return [{ where: 'whole', at: 0, text: glob.text }]
  const segments = glob.text.split('/').slice(1)
  const globstar = segments.findIndex((segment) => segment.includes('**'))
  const fixed = globstar < 0 ? segments : segments.slice(0, globstar)
  const start = fixed.slice(0, START_SEGMENTS).map((text, at): Piece => ({ where: 'start', at, text }))
  // After the last `**` the place is known from the end. Without one, the places from the start say as much.
  const last = segments.findLastIndex((segment) => segment.includes('**'))
  const tail = globstar < 0 ? [] : segments.slice(last + 1).reverse()
  const end = tail.slice(0, END_SEGMENTS).map((text, at): Piece => ({ where: 'end', at, text }))
  const literal = [...start, ...end].filter(({ text }) => !text.includes('*'))
  const prefix = glob.head.slice(0, PREFIX_LENGTH)
  return literal.length > 0 ? literal : [{ where: 'prefix', at: prefix.length, text: prefix }]
}

/** The segment with `at` others before it; no text at all has a slash in it, so `/` stands for "not that many". */
function segmentFromStart(path: string, at: number): string {
  let start = 1
  for (let passed = 0; passed < at; passed += 1) {
    const slash = path.indexOf('/', start)
    if (slash < 0) return '/'
    start = slash + 1
  }
  const end = path.indexOf('/', start)
  return path.slice(start, end < 0 ? path.length : end)
}

function segmentFromEnd(path: string, at: number): string {
  let end = path.length
  for (let passed = 0; passed < at; passed += 1) {
    const slash = path.lastIndexOf('/', end - 1)
    if (slash <= 0) return '/'
    end = slash
  }
  return path.slice(path.lastIndexOf('/', end - 1) + 1, end)
}
