// The shape of bodies: which members they have, and which of them a rule has not seen before.

import type { Content } from './body.ts'
import type { BodyFailure, Inspected } from './body-failure.ts'
import type { JsonValue } from './json-strict.ts'
import { MAX_MEMBERS } from './known-shape.ts'
import type { ShapeMode } from './rule.ts'
import { clipMember, ELEMENTS, fieldMember, MAX_MEMBER_LENGTH, nameStep, ROOT } from './shape-member.ts'

/** What was learned of the bodies of each rule. */
export interface KnownMembers {
  /** `member`: as in `$.items[*].id`; null: whether anything was learned at all. */
  knows(rule: string, member: string | null): boolean
}

/** `failure`: the rule enforces its shape, and this is not it. `flags`: what is new. `learned`: to be remembered. */
export interface ShapeJudgement {
  readonly failure: BodyFailure | null
  readonly flags: readonly string[]
  readonly learned: readonly string[]
}

export const NOTHING_NEW: ShapeJudgement = { failure: null, flags: [], learned: [] }

/** Of one request; of what is more the record says that there is. */
const MAX_FLAGS = 16
const UNREADABLE = ['shape_unknown']

/** `mode` null: the rule does not look at shapes. A request without a body has no members. */
export function judgeShape(
  rule: string,
  mode: ShapeMode | null,
  { empty, read }: Inspected,
  known: KnownMembers,
): ShapeJudgement {
  if (mode === null || empty) return NOTHING_NEW
  if (read.kind === 'bad') return denied(mode, read.why, UNREADABLE)
  const nothing = !known.knows(rule, null)
  if (mode === 'enforce' && nothing) return denied(mode, 'no shape was learned yet; set shape: learn to learn it', [])
  const knows = nothing ? NONE : (member: string): boolean => known.knows(rule, member)
  const search: Search = { knows, most: mode === 'learn' ? MAX_MEMBERS : MAX_FLAGS + 1, fresh: [], below: new Map() }
  searchContent(read.content, search)
  const { fresh } = search
  // What is too long is remembered under no mode, so that no two members are taken for one.
  const learned = mode === 'learn' ? fresh.filter((member) => member.length <= MAX_MEMBER_LENGTH) : []
  const flagged = mode === 'learn' ? fresh.filter((member) => member.length > MAX_MEMBER_LENGTH) : fresh
  const [first] = flagged
  if (first === undefined) return { failure: null, flags: [], learned }
  const why = `${shown(first)} was never seen; set shape: learn to learn it`
  return { ...denied(mode, why, flagsOf(flagged)), learned }
}

const NONE = (): boolean => false

/** In all modes but `enforce` it is said and goes on. */
function denied(mode: ShapeMode, why: string, flags: readonly string[]): ShapeJudgement {
  return mode === 'enforce'
    ? { failure: { why, flags }, flags: [], learned: [] }
    : { failure: null, flags, learned: [] }
}

function flagsOf(members: readonly string[]): readonly string[] {
  const flags = members.slice(0, MAX_FLAGS).map((member) => `new_member:${shown(member)}`)
  return members.length > MAX_FLAGS ? [...flags, 'new_member:…'] : flags
}

function shown(member: string): string {
  return member.length > MAX_MEMBER_LENGTH ? clipMember(member) : member
}

/** The members of one body that are not known, at most so many. */
interface Search {
  readonly knows: (member: string) => boolean
  readonly most: number
  readonly fresh: string[]
  /** By the path of an object and a name in it: the path of that member, null where what is below it is not looked at. */
  readonly below: Map<string, Map<string, string | null>>
}

function searchContent(content: Content, search: Search): void {
  if (content.kind === 'json') {
    if (!(content.value instanceof Map)) look(ROOT, search)
    return searchValue(content.value, ROOT, search)
  }
  for (const name of new Set(content.fields.map((field) => field.name))) look(fieldMember(content.kind, name), search)
}

/** Its depth is that of the JSON, which is bounded. */
function searchValue(value: JsonValue, path: string, search: Search): void {
  if (value instanceof Map) return searchObject(value as ReadonlyMap<string, JsonValue>, path, search)
  if (!Array.isArray(value)) return
  const text = path + ELEMENTS
  for (const element of value as readonly JsonValue[]) {
    if (typeof element === 'object') searchValue(element, text, search)
  }
}

/** The objects of a list have the same members again and again: each is written and asked for once. */
function searchObject(object: ReadonlyMap<string, JsonValue>, path: string, search: Search): void {
  if (object.size === 0) return
  const below = search.below.get(path) ?? new Map<string, string | null>()
  search.below.set(path, below)
  for (const [name, member] of object) {
    let text = below.get(name)
    if (text === undefined) {
      text = look(path + nameStep(name), search)
      below.set(name, text)
    }
    if (text !== null && typeof member === 'object') searchValue(member, text, search)
  }
}

/** The member itself, or null. Below one that is too long all are, and their number times its length is beyond any bound. */
function look(member: string, { knows, most, fresh }: Search): string | null {
  if (fresh.length === most) return null
  if (!knows(member)) fresh.push(member)
  return member.length <= MAX_MEMBER_LENGTH ? member : null
}
