// Body conditions of allow rules: which bodies can be inspected, and whether a JSON body meets what a rule demands.

import type { Buffer } from 'node:buffer'
import { compileValueGlob, matchValueGlob } from './glob.ts'
import { parseSteps, type Step, select } from './json-path.ts'
import { type JsonValue, readJson } from './json-strict.ts'
import type { BodyCondition } from './rule.ts'

/** Bytes of a decoded body that are read for a decision; a body with more is denied by every rule with conditions. */
export const BODY_INSPECTION_LIMIT = 1_048_576

/**
 * A body as far as it was read. `bytes` are decoded, and `contentEncoding` is what is left to decode: null when the
 * reader undid it all. `complete`: nothing follows `bytes`.
 */
export interface InspectedBody {
  readonly bytes: Buffer
  readonly complete: boolean
  readonly contentType: string | null
  readonly contentEncoding: string | null
}

export interface CompiledCondition {
  readonly spec: BodyCondition
  /** For hints: `$.Bcc must be-absent`. */
  readonly text: string
  readonly steps: readonly Step[]
  readonly holds: (selected: readonly JsonValue[]) => boolean
}

export type ConditionResult =
  | { readonly kind: 'ok'; readonly condition: CompiledCondition }
  | { readonly kind: 'bad'; readonly why: string; readonly fix: string }

const TYPES: ReadonlySet<unknown> = new Set(['string', 'number', 'integer', 'boolean', 'object', 'array', 'null'])

export function compileCondition(condition: BodyCondition): ConditionResult {
  const steps = parseSteps(condition.path)
  if (steps === null) {
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
  return {
    kind: 'ok',
    condition: { spec: condition, text: `${condition.path} must ${condition.must}${value}`, steps, holds },
  }
}

const FIXES: Readonly<Record<BodyCondition['must'], string>> = {
  'be-absent': 'remove value',
  'be-present': 'remove value',
  match: 'write value: "*@example.com", where * stands for any run of characters',
  'be-in': 'write value: [a, b], a list of at least one string, number, boolean or null',
  'be-at-most': 'write value: 10, a number of zero or more for lengths, any number for numbers',
  'be-of-type': 'write value: string, or number, integer, boolean, object, array, null',
}

type Holds = CompiledCondition['holds']

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

export type ReadBody =
  | { readonly kind: 'ok'; readonly value: JsonValue }
  | { readonly kind: 'bad'; readonly why: string }

/** The value of a body that can be judged. Everything else is named and denied: unknown means no. */
export function readBody(body: InspectedBody): ReadBody {
  if (!body.complete || body.bytes.length > BODY_INSPECTION_LIMIT) {
    return { kind: 'bad', why: `the body is over the inspection limit of ${BODY_INSPECTION_LIMIT} bytes` }
  }
  if (!isJsonType(body.contentType)) return { kind: 'bad', why: 'the Content-Type is not JSON in UTF-8' }
  if (body.contentEncoding !== null && body.contentEncoding.trim().toLowerCase() !== 'identity') {
    return { kind: 'bad', why: 'the Content-Encoding of the body is not one that can be inspected' }
  }
  const read = readJson(body.bytes)
  if (read.kind === 'ok') return read
  return { kind: 'bad', why: `the body is not strict JSON: ${read.why} at offset ${read.offset}` }
}

const JSON_TYPE = /^(?:application\/json|[a-z0-9!#$&^_.-]+\/[a-z0-9!#$&^_.-]+\+json)$/
const PARAMETER = /^([a-z0-9_-]+)=(?:"([^"\\]*)"|([^\s"(),/:<=>?@[\\\]{}]+))$/

/** SECURITY: a charset that we ignore and the destination obeys would have it read another text than the one judged. */
function isJsonType(contentType: string | null): boolean {
  const [type, ...parameters] = (contentType ?? '').toLowerCase().split(';')
  if (!JSON_TYPE.test((type as string).trim())) return false
  return parameters.every((parameter) => {
    const [, name, quoted, token] = PARAMETER.exec(parameter.trim()) ?? []
    return name !== undefined && (name !== 'charset' || (quoted ?? token) === 'utf-8')
  })
}

/** The text of the first condition that does not hold, or null: all do. */
export function unmet(conditions: readonly CompiledCondition[], value: JsonValue): string | null {
  for (const { text, steps, holds } of conditions) {
    const selected = select(value, steps)
    if (selected === null || !holds(selected)) return text
  }
  return null
}
