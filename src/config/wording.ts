// Turns what the schema found into sentences: what is wrong, and what to write instead.

import { z } from 'zod'
import { items, member } from './plain-data.ts'
import type { Finding, Place } from './problem.ts'
import type { ConfigFile } from './schema.ts'
import { configSchema } from './schema.ts'

export type Shaped =
  | { readonly ok: true; readonly file: ConfigFile }
  | { readonly ok: false; readonly findings: Finding[] }

/** Checks the shape of a whole file, or of a part of one, and reports every fault in it. */
export function checkShape(value: unknown): Shaped {
  const result = configSchema.safeParse(value, { error: wordsFor })
  if (result.success) return { ok: true, file: result.data }
  return { ok: false, findings: result.error.issues.flatMap((issue) => findings(issue, [], value)) }
}

type Issue = z.core.$ZodIssue
type RawIssue = z.core.$ZodRawIssue

/** The words for what the schema itself has none for: two lines, see schema-part.ts. */
function wordsFor(issue: RawIssue): string | null {
  switch (issue.code) {
    case 'invalid_type':
      return wrongType(issue.expected, issue.input)
    case 'invalid_value':
      if (issue.input === undefined) return `is missing\nadd it: ${issue.values.map(String).join(' or ')}`
      return `${show(issue.input)} is not one of the values known here\nwrite ${issue.values.map(String).join(' or ')}`
    case 'too_small':
      return issue.origin === 'number' || issue.origin === 'int'
        ? `${show(issue.input)} is too small\nwrite ${String(issue.minimum)} or more`
        : 'is empty\ngive it a value, or remove it'
    case 'too_big':
      return `${show(issue.input)} is too big\nwrite ${String(issue.maximum)} or less`
    case 'unrecognized_keys':
      return `unknown key\n${knownKeys(issue.inst).join(', ')}`
    case 'invalid_union':
      return unknownVariant(issue)
    case 'custom':
    case 'invalid_element':
    case 'invalid_format':
    case 'invalid_key':
    case 'not_multiple_of':
    default:
      return null
  }
}

const ARTICLED: Readonly<Record<string, string>> = {
  string: 'a text',
  array: 'a list',
  object: 'a map of members',
  number: 'a number',
  int: 'a whole number',
}

function wrongType(expected: string, input: unknown): string {
  const wanted = ARTICLED[expected] ?? expected
  if (input === undefined) return `is missing\nadd it: ${wanted}`
  if (input === null) return `has no value\ngive it ${wanted}, or remove it`
  if (expected === 'array' && typeof input !== 'object') return `is not a list\nwrite [${show(input)}]`
  if (expected === 'string' && typeof input !== 'object') return `is not a text\nwrite "${show(input)}", in quotes`
  return `is not ${wanted}\nwrite ${wanted}`
}

function show(input: unknown): string {
  return JSON.stringify(input)
}

/** What an object takes, less the members that are known only to be refused. */
function knownKeys(schema: unknown): string[] {
  if (!(schema instanceof z.ZodObject)) return []
  const members = Object.entries(schema.shape)
  return members.filter(([, part]) => part.meta()?.deprecated !== true).map(([key]) => key)
}

/** A union tells its variants apart by one member, or has words of its own. */
function unknownVariant(issue: RawIssue & { readonly code: 'invalid_union' }): string {
  const given = 'discriminator' in issue ? member(issue.input, String(issue.discriminator)) : issue.input
  const known = 'options' in issue && Array.isArray(issue.options) ? issue.options.map(String) : []
  if (known.length === 0) return wrongType('string', given)
  if (given === undefined) return `is missing\nadd it: ${known.join(' or ')}`
  return `${show(given)} is not one of the values known here\nwrite ${known.join(' or ')}`
}

/** One issue as findings at their own places: every unknown key its own, and of a union the branch of the right type. */
function findings(issue: Issue, outer: Place, root: unknown): Finding[] {
  const place = [...outer, ...issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))]
  const [message = '', fix = ''] = issue.message.split('\n')
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      place: [...place, key],
      message,
      fix: keyFix(key, fix.split(', ')),
      onKey: true,
    }))
  }
  if (issue.code === 'invalid_union') {
    const branch = issue.errors.find(
      (errors) => !errors.some(({ code, path }) => code === 'invalid_type' && path.length === 0),
    )
    if (branch !== undefined) return branch.flatMap((error) => findings(error, place, root))
  }
  if (place[0] === 'rules' && place[2] === 'id' && place.length === 3 && message === 'is missing') {
    return [{ place, message, fix: `add id: ${suggestId(root, Number(place[1]))}` }]
  }
  return [{ place, message: place.length === 0 ? `the file ${message}` : message, fix }]
}

function keyFix(key: string, known: readonly string[]): string {
  const meant = known.find((candidate) => isNear(key.toLowerCase(), candidate))
  return meant === undefined ? `known here: ${known.join(', ')}` : `did you mean ${meant}?`
}

/** One letter more, less or other, or two neighbours swapped. */
export function isNear(written: string, known: string): boolean {
  let start = 0
  while (start < known.length && written[start] === known[start]) start += 1
  const rest = written.slice(start)
  const wanted = known.slice(start)
  const swapped = `${rest.charAt(1)}${rest.charAt(0)}${rest.slice(2)}`
  return rest.slice(1) === wanted || rest === wanted.slice(1) || rest.slice(1) === wanted.slice(1) || swapped === wanted
}

/** An id made of the rule's first host, and of its index where another rule has that id already. */
function suggestId(root: unknown, index: number): string {
  const rules = items(member(root, 'rules'))
  const rule = rules[index]
  const kind = ['allow', 'deny', 'passthrough'].find((candidate) => member(rule, candidate) !== undefined) ?? 'rule'
  const [first] = items(member(member(rule, kind), 'hosts'))
  const host = typeof first === 'string' ? first : String(index + 1)
  const words = `${kind}-${host}`
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 48)
  const id = words.endsWith('-') ? words.slice(0, -1) : words
  const isTaken = rules.some((other) => member(other, 'id') === id)
  return isTaken ? `${id}-${index + 1}` : id
}
