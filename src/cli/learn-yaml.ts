// A learned policy as text: YAML that says beside each rule what it was learned from, and at its end what is in none.

import { Document, isMap, isScalar, isSeq, type Node, type YAMLMap, visit } from 'yaml'
import type { ClientSpec, McpSpec, RuleSpec } from '../core/rule.ts'
import { escaped } from './audit-text.ts'
import type { LearnedRule } from './learn-rules.ts'
import { addSeen, nothingSeen, type Seen } from './learn-seen.ts'

export interface LearnedPolicy {
  /** The file that the rules are to be added to; null: they are a file of their own. */
  readonly into: string | null
  readonly clients: readonly ClientSpec[]
  /** Addresses that are denied unless `upstream.allow` has them. */
  readonly reached: readonly string[]
  readonly rules: readonly LearnedRule[]
  readonly leftOut: ReadonlyMap<string, number>
}

/** Longer lists have a line for each member. */
const MAX_FLOW = 100
/** With so many paths a rule is no longer read. */
const MANY_PATHS = 40

/** The members of a configuration, as they are written. */
export function writtenPolicy({ into, clients, reached, rules }: LearnedPolicy): Record<string, unknown> {
  return {
    ...(into === null ? { version: 1 } : {}),
    ...(clients.length === 0 ? {} : { clients }),
    ...(into === null || rules.length > 0 ? { rules: rules.map(({ spec }) => writtenRule(spec)) } : {}),
    ...(reached.length === 0 ? {} : { upstream: { allow: reached } }),
  }
}

function writtenRule({ id, clients, kind, match, mcp }: RuleSpec): object {
  const { hosts, schemes, ports, methods, paths, upgrade, encodedSlash } = match
  const written = { hosts, schemes, ports, methods, paths, upgrade, encoded_slash: encodedSlash ? 'allow' : undefined }
  const set = Object.fromEntries(Object.entries(written).filter(([, value]) => value !== undefined))
  return { id, clients, [kind]: set, ...(mcp === undefined ? {} : { mcp: writtenMcp(mcp) }) }
}

/** SECURITY: names come from the workload, and `${NAME}`, `file:` and `exec:` in a configuration read or run what they name (config/substitute.ts). */
function writtenMcp({ methods, tools, resources }: McpSpec): object {
  const plain = (names: readonly string[]): string[] =>
    names.map((name) => (/^(?:file|exec):/.test(name) ? '$' : '') + name.replaceAll('${', () => '$${'))
  return {
    ...(methods === undefined ? {} : { methods: plain(methods) }),
    ...(tools === undefined ? {} : { tools: plain(tools) }),
    ...(resources === undefined ? {} : { resources: plain(resources) }),
  }
}

export function yamlOf(policy: LearnedPolicy): string {
  if (policy.into !== null && policy.rules.length === 0) return commentsAlone(policy)
  const document = new Document(writtenPolicy(policy), { version: '1.2', schema: 'core' })
  document.commentBefore = comment(heading(policy))
  document.comment = comment(leftOutLines(policy.leftOut))
  const { contents } = document
  if (isMap(contents)) {
    contents.flow = false
    for (const { key } of contents.items.slice(1)) if (isScalar(key)) key.spaceBefore = true
  }
  for (const [index, client] of policy.clients.entries()) {
    mapAt(document, ['clients', index]).commentBefore = comment(clientLines(client))
  }
  for (const [index, rule] of policy.rules.entries()) annotate(document, index, rule)
  if (policy.reached.length > 0) mapAt(document, ['upstream']).commentBefore = comment(REACHED)
  visit(document, { Seq: (_, seq) => void (seq.flow = isShort(seq.items as Node[])) })
  return document.toString({ lineWidth: 0, flowCollectionPadding: false })
}

const REACHED = ['addresses that are denied by default and were reached']

function annotate(document: Document, index: number, rule: LearnedRule): void {
  const map = mapAt(document, ['rules', index])
  map.commentBefore = comment(ruleLines(rule))
  map.spaceBefore = index > 0
  const paths = document.getIn(['rules', index, 'allow', 'paths'], true)
  if (!isSeq(paths)) return
  for (const path of paths.items) {
    if (!isScalar(path)) continue
    const examples = rule.examples.get(String(path.value))
    if (examples !== undefined) path.comment = comment([examples.join(', ')])
  }
}

/** A list without comments that fits a line. */
function isShort(items: readonly Node[]): boolean {
  if (!items.every((item) => isScalar(item) && !item.comment)) return false
  return items.reduce((length, item) => length + String(isScalar(item) ? item.value : '').length + 2, 0) <= MAX_FLOW
}

function heading({ into, rules }: LearnedPolicy): string[] {
  const all = nothingSeen()
  for (const { seen } of rules) addSeen(all, seen)
  if (into !== null && rules.length === 0) return [`nothing to add: ${into} allows what left, or no rule could`]
  if (into !== null) return [`add to ${into}, which does not allow this: ${spanOf(all)}`]
  if (rules.length === 0) return ['nothing was learned: nothing that a rule could allow has left']
  const what = rules.some(({ refused }) => refused) ? 'what left, and at the end what was refused' : 'what left'
  return [`learned from ${spanOf(all)}: ${what}, and nothing else. Read it before it comes into force`]
}

function clientLines({ source, token }: ClientSpec): string[] {
  if (token !== undefined)
    return ['others asked from its address too, or it has none: it needs a token, in this environment variable']
  return source === undefined ? [] : ['the addresses it asked from; if it has a token, write token: ${NAME} instead']
}

function ruleLines({ spec, seen, refused, unnamed }: LearnedRule): string[] {
  const paths = spec.match.paths?.length ?? 0
  return [
    ...(refused
      ? ['REFUSED when it was asked for, and never left: keep this rule only if you know who asked, and why']
      : []),
    `${spanOf(seen)}${spec.kind === 'passthrough' ? ': connections passed through undecrypted' : ''}`,
    ...(unnamed > 0 ? [`${unnamed} messages of MCP are not allowed: their names can not be written`] : []),
    ...(paths > MANY_PATHS ? [`${paths} paths: --merge makes one * of siblings`] : []),
  ]
}

function leftOutLines(leftOut: ReadonlyMap<string, number>): string[] {
  if (leftOut.size === 0) return []
  const sorted = [...leftOut].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
  return ['in no rule:', ...sorted.map(([why, count]) => `  ${requests(count)} ${why}`)]
}

function spanOf({ count, first, last }: Seen): string {
  return `${requests(count)}, ${first}${last === first ? '' : ` to ${last}`}`
}

function requests(count: number): string {
  return `${count} request${count === 1 ? '' : 's'}`
}

function commentsAlone(policy: LearnedPolicy): string {
  const lines = [...heading(policy), ...leftOutLines(policy.leftOut)]
  return `${lines.map((line) => `# ${escaped(line)}`).join('\n')}\n`
}

/** SECURITY: nothing that a peer chose ends a comment: printable ASCII alone, a line for each. */
function comment(lines: readonly string[]): string | null {
  return lines.length === 0 ? null : lines.map((line) => ` ${escaped(line)}`).join('\n')
}

function mapAt(document: Document, place: readonly (string | number)[]): YAMLMap {
  return document.getIn(place, true) as YAMLMap
}
