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
    const next: JsonValue[] = []
    for (const value of selected) {
      if (!follow(step, value, next)) return null
    }
    selected = next
  }
  return selected
}

function follow(step: Step, value: JsonValue, into: JsonValue[]): boolean {
  if (value instanceof Map) return followInObject(step, value as ReadonlyMap<string, JsonValue>, into)
  if (!Array.isArray(value)) return true
  // SECURITY: some readers unwrap a list of one, so a list where an object was expected is not "no such member".
  if (step.kind === 'name') return false
  const elements = value as readonly JsonValue[]
  const end = step.kind === 'all' ? elements.length : step.index + 1
  for (const element of elements.slice(step.kind === 'all' ? 0 : step.index, end)) into.push(element)
  return true
}

function followInObject(step: Step, members: ReadonlyMap<string, JsonValue>, into: JsonValue[]): boolean {
  // Some readers take {"0": …} for a list.
  if (step.kind === 'index') return false
  const folded = step.kind === 'name' ? fold(step.name) : ''
  for (const [name, value] of members) {
    if (step.kind === 'all' || name === step.name) into.push(value)
    // SECURITY: Go and .NET take "bcc" for the member Bcc, so a look-alike is neither absent nor the one that was checked.
    else if (fold(name) === folded) return false
  }
  return true
}

/** Upper case first: it also folds U+017F and U+212A, which Go takes for s and k. */
function fold(name: string): string {
  return name.toUpperCase().toLowerCase()
}
