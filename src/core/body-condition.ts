// Conditions on what a body holds: compiled from what a rule says, and whether a body meets them.

import type { Content } from './body.ts'
import { fieldValues } from './form-field.ts'
import { compileValueGlob, matchValueGlob } from './glob.ts'
import { parseSteps, select } from './json-path.ts'
import type { JsonValue } from './json-strict.ts'
import type { BodyCondition } from './rule.ts'

export interface CompiledCondition {
  readonly spec: BodyCondition
  /** What kind of body it is about. */
  readonly of: Content['kind']
  /** For hints: `$.Bcc must be-absent`. */
  readonly text: string
  readonly meets: (content: Content) => boolean
}

export type ConditionResult =
  | { readonly kind: 'ok'; readonly condition: CompiledCondition }
  | { readonly kind: 'bad'; readonly why: string; readonly fix: string }

const TYPES: ReadonlySet<unknown> = new Set(['string', 'number', 'integer', 'boolean', 'object', 'array', 'null'])

/** What a condition looks at. Null where two readers of the same body could see different things: no condition holds there. */
type Select = (content: Content) => readonly JsonValue[] | null

export function compileCondition(condition: BodyCondition): ConditionResult {
  const of = condition.in ?? 'json'
  const selectIn = of === 'json' ? selectJson(condition.path) : selectField(condition.path)
  if (selectIn === null) {
    return {
      kind: 'bad',
      why: `${JSON.stringify(condition.path)} is not a path that can be checked`,
      fix: "start with $, then .name, ['any name'], [0] or [*], as in $.items[*].id",
    }
  }
  const holds = TESTS[condition.must](condition.value)
  if (typeof holds === 'string')
    return { kind: 'bad', why: `must: ${condition.must} ${holds}`, fix: FIXES[condition.must] }
  const value = condition.value === undefined ? '' : ` ${JSON.stringify(condition.value)}`
  const meets = (content: Content): boolean => {
    const selected = selectIn(content)
    return selected !== null && holds(selected)
  }
  const text = `${condition.path} must ${condition.must}${value}`
  return { kind: 'ok', condition: { spec: condition, of, text, meets } }
}

function selectJson(path: string): Select | null {
  const steps = parseSteps(path)
  return steps === null ? null : (content) => (content.kind === 'json' ? select(content.value, steps) : null)
}

function selectField(name: string): Select {
  return (content) => (content.kind === 'json' ? null : fieldValues(content.fields, name))
}

const FIXES: Readonly<Record<BodyCondition['must'], string>> = {
  'be-absent': 'remove value',
  'be-present': 'remove value',
  match: 'write value: "*@example.com", where * stands for any run of characters',
  'be-in': 'write value: [a, b], a list of at least one string, number, boolean or null',
  'be-at-most': 'write value: 10, a number of zero or more for lengths, any number for numbers',
  'be-of-type': 'write value: string, or number, integer, boolean, object, array, null',
}

type Holds = (selected: readonly JsonValue[]) => boolean

/** From the value of a condition to its test, or to what is wrong with it. All but be-absent fail where nothing is selected. */
const TESTS: Readonly<Record<BodyCondition['must'], (value: unknown) => Holds | string>> = {
  'be-absent': (value) => (value === undefined ? (selected) => selected.length === 0 : 'takes no value'),
  'be-present': (value) => (value === undefined ? (selected) => selected.length > 0 : 'takes no value'),
  match: (value) => {
    if (typeof value !== 'string') return 'needs a string'
    const glob = compileValueGlob(value)
    return every((item) => typeof item === 'string' && matchValueGlob(glob, item))
  },
  'be-in': (value) => {
    if (!Array.isArray(value) || value.length === 0 || !value.every(isScalar)) return 'needs a list of plain values'
    const allowed = new Set<unknown>(value)
    return every((item) => allowed.has(item) && !isRounded(item))
  },
  'be-at-most': (value) => {
    if (typeof value !== 'number' || !Number.isFinite(value)) return 'needs a number'
    return every((item) => sizeOf(item) <= value)
  },
  'be-of-type': (value) => {
    if (!TYPES.has(value)) return 'needs the name of a JSON type'
    return every((item) => isOfType(item, value))
  },
}

function every(test: (item: JsonValue) => boolean): Holds {
  return (selected) => selected.length > 0 && selected.every(test)
}

function isScalar(value: unknown): boolean {
  return value === null || ['string', 'boolean'].includes(typeof value) || Number.isFinite(value)
}

/** SECURITY: past 2^53 a number is not the one that was written, and the destination may read it exactly. */
function isRounded(item: JsonValue): boolean {
  return typeof item === 'number' && Math.abs(item) > Number.MAX_SAFE_INTEGER
}

/** A number's value, a string's length in code points, an array's count of elements; nothing else is ever small enough. */
function sizeOf(item: JsonValue): number {
  if (typeof item === 'number') return item
  if (typeof item === 'string') return Array.from(item).length
  return Array.isArray(item) ? item.length : Number.POSITIVE_INFINITY
}

function isOfType(item: JsonValue, type: unknown): boolean {
  if (type === 'integer') return Number.isInteger(item)
  if (item === null) return type === 'null'
  if (Array.isArray(item)) return type === 'array'
  return typeof item === type
}

/** The conditions on this kind of body that do not hold, in their order; null: there are none on this kind. */
export function unmet(conditions: readonly CompiledCondition[], content: Content): CompiledCondition[] | null {
  const about = conditions.filter(({ of }) => of === content.kind)
  return about.length === 0 ? null : about.filter(({ meets }) => !meets(content))
}
