// The methods of one service, those with the same paths together: what was not seen together is never paired.

import { coversTemplate, fewestTemplates } from '../core/path-template.ts'
import type { McpSpec } from '../core/rule.ts'
import { mcpOf } from './learn-mcp.ts'
import { addSeen, MAX_EXAMPLES, nothingSeen, type Seen, type SeenTemplate, seenUnder } from './learn-seen.ts'
import { leaveOut, type Service, serviceKey, type Traffic } from './learn-traffic.ts'

/** Methods that were seen with exactly these paths, and with exactly these messages of MCP. */
export interface MethodsAlike {
  readonly methods: string[]
  readonly globs: readonly string[]
  /** Null: nothing is asked of bodies. */
  readonly mcp: McpSpec | null
  /** Messages that `mcp` does not allow, as it can not name them. */
  unnamed: number
  readonly seen: Seen
  /** By template, what stood for its `*`. */
  readonly examples: Map<string, readonly string[]>
}

type Templates = readonly (readonly [string, SeenTemplate])[]

/** SECURITY: two methods share a rule only if each was seen with all of its paths: `GET /a` and `DELETE /b` do not allow `DELETE /a`. */
export function methodsAlike(service: Service, traffic: Traffic): MethodsAlike[] {
  const found = new Map<string, MethodsAlike>()
  for (const [method, all] of service.methods) {
    const templates = service.refused ? neverForwarded(service, method, all, traffic) : [...all]
    for (const [mcp, own] of byMessages(templates, traffic)) {
      const globs = fewestTemplates(
        own.map(([glob]) => glob),
        traffic.siblings,
      )
      const key = JSON.stringify([globs, mcp])
      const alike: MethodsAlike = found.get(key) ?? {
        methods: [],
        globs,
        mcp,
        unnamed: 0,
        seen: nothingSeen(),
        examples: new Map(),
      }
      found.set(key, alike)
      alike.methods.push(method)
      for (const [, seen] of own) {
        addSeen(alike.seen, seen)
        if (mcp !== null) alike.unnamed += seen.mcp.unnamed
      }
      for (const glob of globs) addExamples(alike, glob, own)
    }
  }
  return [...found.values()]
}

function addExamples({ examples }: MethodsAlike, glob: string, templates: Templates): void {
  const more = seenUnder(
    templates.map(([, seen]) => seen),
    glob,
  ).examples
  const all = new Set([...(examples.get(glob) ?? []), ...more])
  if (all.size > 0) examples.set(glob, [...all].slice(0, MAX_EXAMPLES))
}

/** What was refused at one time and forwarded at another needs no rule of its own. */
function neverForwarded(
  service: Service,
  method: string,
  templates: ReadonlyMap<string, SeenTemplate>,
  { services }: Traffic,
): Templates {
  const forwarded = services.get(serviceKey({ ...service, refused: false }))?.methods.get(method)
  const allowed = [...(forwarded?.values() ?? [])]
  return [...templates].filter(([, seen]) => !allowed.some((other) => coversTemplate(other.segments, seen.segments)))
}

/** Templates by the messages of MCP in their requests; null: some request had none, and nothing can be asked of them all. */
function byMessages(templates: Templates, traffic: Traffic): [McpSpec | null, Templates][] {
  const groups = new Map<string, [McpSpec | null, (readonly [string, SeenTemplate])[]]>()
  for (const [glob, seen] of templates) {
    const mcp = seen.mcp.without > 0 ? null : mcpOf(seen.mcp)
    // Without a method, the conditions would allow those of every session.
    if (mcp?.methods.length === 0) {
      leaveOut(traffic, 'of MCP, without a method that a rule can name', seen.count)
      continue
    }
    const key = JSON.stringify(mcp)
    const group = groups.get(key) ?? [mcp, []]
    groups.set(key, group)
    group[1].push([glob, seen])
  }
  return [...groups.values()]
}
