// Paths into a JSON value: the subset of RFC 9535 that body conditions use, and what they select.

import type { JsonValue } from './json-strict.ts'

export type Step =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'all' }

const NAME = /\.([A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)/y
const QUOTED = /\[(?:'([^'\\]*)'|"([^"\\]*)")\]/y
const INDEX = /\[(0|[1-9][0-9]{0,8})\]/y
const ALL = /\[\*\]/y
/** RFC 9535 without filters, slices, descendants and negative indices; null for all else. */
export function parseSteps(path: string): readonly Step[] | null {
  if (!path.startsWith('$')) return null
  const steps: Step[] = []
  for (let at = 1; at < path.length; ) {
    const name = matchAt(NAME, path, at) ?? matchAt(QUOTED, path, at)
    const index = matchAt(INDEX, path, at)
    const found = name ?? index ?? matchAt(ALL, path, at)
    if (found === null) return null
    const text = found[1] ?? found[2] ?? ''
    if (name !== null) steps.push({ kind: 'name', name: text })
    else steps.push(index === null ? { kind: 'all' } : { kind: 'index', index: Number(text) })
    at += found[0].length
  }
  return steps
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at
  return pattern.exec(text)
}

/** What the steps lead to. Null where another reader of the same body could be led elsewhere: no condition holds there. */
export function select(root: JsonValue, steps: readonly Step[]): readonly JsonValue[] | null {
  let selected: readonly JsonValue[] = [root]
  for (const step of steps) {
    const folded = step.kind === 'name' ? fold(step.name) : ''
    const next: JsonValue[] = []
    for (const value of selected) {
      if (!follow(step, folded, value, next)) return null
    }
    selected = next
  }
  return selected
}

/** `folded`: the name of the step. */
function follow(step: Step, folded: string, value: JsonValue, into: JsonValue[]): boolean {
  if (value instanceof Map) return followInObject(step, folded, value as ReadonlyMap<string, JsonValue>, into)
  if (!Array.isArray(value)) return true
  // SECURITY: some readers unwrap a list of one, so a list where an object was expected is not "no such member".
  if (step.kind === 'name') return false
  const elements = value as readonly JsonValue[]
  const end = step.kind === 'all' ? elements.length : Math.min(step.index + 1, elements.length)
  for (let at = step.kind === 'all' ? 0 : step.index; at < end; at += 1) into.push(elements[at] as JsonValue)
  return true
}

function followInObject(
  step: Step,
  folded: string,
  members: ReadonlyMap<string, JsonValue>,
  into: JsonValue[],
): boolean {
  // Some readers take {"0": …} for a list.
  if (step.kind === 'index') return false
  if (step.kind === 'all') {
    for (const value of members.values()) into.push(value)
    return true
  }
  for (const name of members.keys()) {
    // SECURITY: Go and .NET take "bcc" for the member Bcc, so a look-alike is neither absent nor the one that was checked.
    if (name !== step.name && foldsTo(name, folded)) return false
  }
  const value = members.get(step.name)
  if (value !== undefined) into.push(value)
  return true
}

/** Upper case first: it also folds U+017F and U+212A, which Go takes for s and k. */
function fold(name: string): string {
  return name.toUpperCase().toLowerCase()
}

/** Whether `fold(name)` is `folded`. Of ASCII letters each becomes one, so that nearly every name is told by its first: a tenth of the time. */
function foldsTo(name: string, folded: string): boolean {
  for (let at = 0; at < name.length; at += 1) {
    const code = name.charCodeAt(at)
    if (code > 0x7f) return fold(name) === folded
    const lower = code >= 0x41 && code <= 0x5a ? code + 0x20 : code
    if (lower !== folded.charCodeAt(at)) return false
  }
  return name.length === folded.length
}
