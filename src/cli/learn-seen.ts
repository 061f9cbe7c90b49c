// How often, when and with which ids something was seen, added up.

import { coversTemplate, segmentsOf } from '../core/path-template.ts'
import { addMcp, type McpSeen, noMcp } from './learn-mcp.ts'

/** Times as the trail writes them, empty where nothing was seen. */
export interface Seen {
  count: number
  first: string
  last: string
}

export interface SeenTemplate extends Seen {
  /** Of the template. */
  readonly segments: readonly string[]
  /** What stood for the `*` of the template, request by request. */
  readonly examples: Set<string>
  readonly mcp: McpSeen
}

/** Of one template. */
export const MAX_EXAMPLES = 3
/** An id may be a secret of no known form: the beginning of a long one shows well enough what it is. */
const MAX_EXAMPLE_LENGTH = 10
const BEGINNING = 4

export function nothingSeen(): Seen {
  return { count: 0, first: '', last: '' }
}

export function unseenTemplate(glob: string): SeenTemplate {
  return { ...nothingSeen(), segments: segmentsOf(glob), examples: new Set(), mcp: noMcp() }
}

export function addSeen(to: Seen, { count, first, last }: Seen): void {
  if (to.count === 0 || first < to.first) to.first = first
  if (last > to.last) to.last = last
  to.count += count
}

/** `ids`: null for what was redacted: of a secret not even the fingerprint goes into a policy. */
export function addExample({ examples }: SeenTemplate, ids: readonly (string | null)[]): void {
  if (examples.size >= MAX_EXAMPLES || ids.length === 0 || ids.includes(null)) return
  examples.add(ids.map((id) => shown(id ?? '')).join(' '))
}

function shown(id: string): string {
  return id.length <= MAX_EXAMPLE_LENGTH ? id : `${id.slice(0, BEGINNING)}...`
}

/** What was seen under all templates that `glob` covers. */
export function seenUnder(templates: Iterable<SeenTemplate>, glob: string): SeenTemplate {
  const whole = unseenTemplate(glob)
  for (const seen of templates) {
    if (!coversTemplate(whole.segments, seen.segments)) continue
    addSeen(whole, seen)
    addMcp(whole.mcp, seen.mcp)
    for (const example of seen.examples) if (whole.examples.size < MAX_EXAMPLES) whole.examples.add(example)
  }
  return whole
}
