// What messages of MCP were seen in the requests of one method and path, and the `mcp` conditions that allow those and no others.

import { items, member } from '../config/plain-data.ts'
import { RESOURCE_METHODS, TOOL_METHODS } from '../core/mcp.ts'
import { compilePolicy } from '../core/policy.ts'
import type { McpSpec } from '../core/rule.ts'

export interface McpSeen {
  /** Requests without a message of MCP, as far as is recorded. */
  without: number
  readonly methods: Set<string>
  readonly tools: Set<string>
  readonly resources: Set<string>
  /** Messages that the conditions do not allow. */
  unnamed: number
  /** Characters of all names. */
  text: number
}

const KINDS = ['methods', 'tools', 'resources'] as const
type Kind = (typeof KINDS)[number]

/** Of each kind, in the requests of one method and path. */
const MAX_NAMES = 100
const MAX_NAME_LENGTH = 256
/** Printable ASCII without `*`. */
const NAMEABLE = /^[ -)+-~]+$/

export function noMcp(): McpSeen {
  return { without: 0, methods: new Set(), tools: new Set(), resources: new Set(), unnamed: 0, text: 0 }
}

/** `mcp` as a record has it: a list of `{ method, tool, resource, id }`, each of them text or null. `most`: what `text` may come to. */
export function noteMcp(seen: McpSeen, mcp: unknown, most: number): void {
  if (!Array.isArray(mcp)) seen.without += 1
  for (const message of items(mcp)) {
    const method = member(message, 'method')
    // A response to the server has no method, and is allowed by any conditions.
    if (typeof method === 'string' && !noteMessage(seen, method, message, most)) seen.unnamed += 1
  }
}

/** SECURITY: conditions that name a method and none of what it calls allow whatever it calls. */
function noteMessage(seen: McpSeen, method: string, message: unknown, most: number): boolean {
  const tool = member(message, 'tool')
  const resource = member(message, 'resource')
  if (typeof tool === 'string' ? !add(seen, 'tools', tool, most) : TOOL_METHODS.includes(method)) return false
  if (typeof resource === 'string' ? !add(seen, 'resources', resource, most) : RESOURCE_METHODS.includes(method))
    return false
  return add(seen, 'methods', method, most)
}

function add(seen: McpSeen, kind: Kind, name: string, most: number): boolean {
  const names = seen[kind]
  if (names.has(name)) return true
  if (names.size >= MAX_NAMES || name.length > MAX_NAME_LENGTH || seen.text + name.length > most) return false
  if (!isNameable(kind, name)) return false
  names.add(name)
  seen.text += name.length
  return true
}

/** SECURITY: a name with a `*` would be a glob, one with a fingerprint is not what was called. `$file:` and `$exec:` have no escape (config/substitute.ts). */
function isNameable(kind: Kind, name: string): boolean {
  if (!NAMEABLE.test(name) || name.includes('hmac:') || /^\$(?:file|exec):/.test(name)) return false
  const rule = { id: 'learned', kind: 'allow', match: { hosts: ['learned.invalid'] }, mcp: { [kind]: [name] } } as const
  return compilePolicy({ mode: 'enforce', clients: [], rules: [rule] }).kind === 'ok'
}

export function addMcp(to: McpSeen, more: McpSeen): void {
  to.without += more.without
  to.unnamed += more.unnamed
  for (const kind of KINDS) {
    for (const name of more[kind]) if (!add(to, kind, name, Number.POSITIVE_INFINITY)) to.unnamed += 1
  }
}

/** Exactly what was seen, of requests that all had messages. */
export function mcpOf({ methods, tools, resources }: McpSeen): McpSpec & { readonly methods: readonly string[] } {
  return {
    methods: [...methods].sort(),
    ...(tools.size === 0 ? {} : { tools: [...tools].sort() }),
    ...(resources.size === 0 ? {} : { resources: [...resources].sort() }),
  }
}
