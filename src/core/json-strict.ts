// A strict JSON reader for inspection: whatever two JSON parsers could read differently is refused (RFC 8259, RFC 7493).

import { Buffer, isUtf8 } from 'node:buffer'

const MAX_DEPTH = 64

/** Objects are Maps: no member name of a body can reach a prototype. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | ReadonlyMap<string, JsonValue>

/** `offset` counts UTF-16 code units of the decoded text; 0 where it could not be decoded. */
export type JsonRead =
  | { readonly kind: 'ok'; readonly value: JsonValue }
  | { readonly kind: 'bad'; readonly why: string; readonly offset: number }

interface Cursor {
  readonly text: string
  at: number
  why: string
}

const BAD = Symbol('not JSON')
type Bad = typeof BAD

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const BACKSLASH = 0x5c
const SPACE = 0x20
const POINT = 0x2e
const ZERO = 0x30
const NINE = 0x39
/** None of these is out of range. */
const MAX_SMALL_DIGITS = 15

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const FIRST_SURROGATE = '\ud800'
const HALF_PAIR = /\p{Surrogate}/u
const HEX = /[0-9a-fA-F]{4}/y
const ESCAPES = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['/', '/'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
])

/** One JSON text and nothing after it: UTF-8 without a byte order mark, at most 64 deep, no member twice. */
export function readJson(bytes: Uint8Array): JsonRead {
  // SECURITY: bytes that are repaired make two texts of one. A byte order mark stays, and is no value.
  if (!isUtf8(bytes)) return { kind: 'bad', why: 'not UTF-8', offset: 0 }
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
  const cursor: Cursor = { text, at: 0, why: '' }
  skipBlank(cursor)
  const value = readValue(cursor, 0)
  if (value === BAD) return { kind: 'bad', why: cursor.why, offset: cursor.at }
  skipBlank(cursor)
  return cursor.at === text.length
    ? { kind: 'ok', value }
    : { kind: 'bad', why: 'something after the value', offset: cursor.at }
}

function readValue(cursor: Cursor, depth: number): JsonValue | Bad {
  switch (cursor.text.charCodeAt(cursor.at)) {
    case 0x7b:
      return readObject(cursor, depth + 1)
    case 0x5b:
      return readArray(cursor, depth + 1)
    case QUOTE:
      return readString(cursor)
    case 0x74:
      return readWord(cursor, 'true', true)
    case 0x66:
      return readWord(cursor, 'false', false)
    case 0x6e:
      return readWord(cursor, 'null', null)
    default:
      return readNumber(cursor)
  }
}

function readObject(cursor: Cursor, depth: number): JsonValue | Bad {
  if (depth > MAX_DEPTH) return fail(cursor, `deeper than ${MAX_DEPTH} levels`)
  const members = new Map<string, JsonValue>()
  let count = 0
  if (opensEmpty(cursor, 0x7d)) return members
  do {
    skipBlank(cursor)
    const isName = cursor.text.charCodeAt(cursor.at) === QUOTE
    const name = isName ? readString(cursor) : fail(cursor, 'expected a member name')
    if (name === BAD) return BAD
    skipBlank(cursor)
    if (!take(cursor, COLON)) return fail(cursor, 'expected a colon')
    skipBlank(cursor)
    const value = readValue(cursor, depth)
    if (value === BAD) return BAD
    members.set(name, value)
    count += 1
    skipBlank(cursor)
  } while (take(cursor, COMMA))
  // SECURITY: some parsers take the first of two members, some the last. Compared after the escapes are resolved.
  if (members.size !== count) return fail(cursor, 'a member name twice')
  return take(cursor, 0x7d) ? members : fail(cursor, 'expected a comma or }')
}

function readArray(cursor: Cursor, depth: number): JsonValue | Bad {
  if (depth > MAX_DEPTH) return fail(cursor, `deeper than ${MAX_DEPTH} levels`)
  const elements: JsonValue[] = []
  if (opensEmpty(cursor, 0x5d)) return elements
  do {
    skipBlank(cursor)
    const value = readValue(cursor, depth)
    if (value === BAD) return BAD
    elements.push(value)
    skipBlank(cursor)
  } while (take(cursor, COMMA))
  return take(cursor, 0x5d) ? elements : fail(cursor, 'expected a comma or ]')
}

/** Steps over the opening bracket; true where `close` follows at once, which it steps over too. */
function opensEmpty(cursor: Cursor, close: number): boolean {
  cursor.at += 1
  skipBlank(cursor)
  return take(cursor, close)
}

function readString(cursor: Cursor): string | Bad {
  cursor.at += 1
  const value = readPlain(cursor)
  return take(cursor, QUOTE) ? value : readEscaped(cursor, value)
}

/** Up to a quote, a backslash or a control character. */
function readPlain(cursor: Cursor): string {
  const { text } = cursor
  const start = cursor.at
  let at = start
  for (; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === QUOTE || code === BACKSLASH || code < SPACE) break
  }
  cursor.at = at
  return text.slice(start, at)
}

/** The rest of a string that does not end where its plain beginning does. */
function readEscaped(cursor: Cursor, plain: string): string | Bad {
  let value = plain
  let halves = false
  do {
    if (!take(cursor, BACKSLASH)) return fail(cursor, 'a control character in a string, or a string without an end')
    const character = readEscape(cursor)
    if (character === BAD) return BAD
    if (character >= FIRST_SURROGATE) halves = true
    value += character
    value += readPlain(cursor)
  } while (!take(cursor, QUOTE))
  // RFC 7493 §2.1: half of a surrogate pair becomes U+FFFD, an error or itself, depending on the parser.
  return halves && HALF_PAIR.test(value) ? fail(cursor, 'half of a surrogate pair') : value
}

function readEscape(cursor: Cursor): string | Bad {
  const letter = cursor.text.charAt(cursor.at)
  cursor.at += 1
  if (letter !== 'u') return ESCAPES.get(letter) ?? fail(cursor, 'an unknown escape')
  const hex = skip(cursor, HEX)
  return hex === '' ? fail(cursor, 'an unknown escape') : String.fromCharCode(Number.parseInt(hex, 16))
}

function readWord(cursor: Cursor, word: string, value: JsonValue): JsonValue | Bad {
  if (!cursor.text.startsWith(word, cursor.at)) return fail(cursor, 'expected a value')
  cursor.at += word.length
  return value
}

function readNumber(cursor: Cursor): number | Bad {
  const small = readSmall(cursor)
  if (small !== -1) return small
  const digits = skip(cursor, NUMBER)
  if (digits === '') return fail(cursor, 'expected a value')
  const value = Number(digits)
  return Number.isFinite(value) ? value : fail(cursor, 'a number out of range')
}

/** A number of few digits, with others behind a point or without; -1, and nothing read, for any other. */
function readSmall(cursor: Cursor): number {
  const { text, at: start } = cursor
  const point = endOfDigits(text, start)
  // No digit may follow a zero.
  if (point === start || point - start > MAX_SMALL_DIGITS || text.charCodeAt(start) === ZERO) return -1
  const fraction = text.charCodeAt(point) === POINT
  const end = fraction ? endOfDigits(text, point + 1) : point
  const next = text.charCodeAt(end)
  if (next === 0x65 || next === 0x45 || (fraction && end === point + 1)) return -1
  cursor.at = end
  return Number(text.slice(start, end))
}

function endOfDigits(text: string, from: number): number {
  let at = from
  while (text.charCodeAt(at) >= ZERO && text.charCodeAt(at) <= NINE) at += 1
  return at
}

/** RFC 8259 §2. Written out, as are strings: a regular expression takes five times as long for a few characters. */
function skipBlank(cursor: Cursor): void {
  const { text } = cursor
  for (; ; cursor.at += 1) {
    const code = text.charCodeAt(cursor.at)
    if (code > SPACE || (code !== SPACE && code !== 0x0a && code !== 0x0d && code !== 0x09)) return
  }
}

/** Steps over what the sticky `pattern` matches here and returns it; the empty string where nothing does. */
function skip(cursor: Cursor, pattern: RegExp): string {
  const start = cursor.at
  pattern.lastIndex = start
  if (!pattern.test(cursor.text)) return ''
  cursor.at = pattern.lastIndex
  return cursor.text.slice(start, cursor.at)
}

function take(cursor: Cursor, character: number): boolean {
  if (cursor.text.charCodeAt(cursor.at) !== character) return false
  cursor.at += 1
  return true
}

function fail(cursor: Cursor, why: string): Bad {
  cursor.why = why
  return BAD
}
