// A strict JSON reader for inspection: whatever two JSON parsers could read differently is refused (RFC 8259, RFC 7493).

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

const BLANK = /[ \t\n\r]*/y
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const PLAIN = /[^"\\\0-\x1f]*/y
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
  let text: string
  try {
    // SECURITY: a mark that is skipped here and not there, or bytes that are repaired, make two texts of one.
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return { kind: 'bad', why: 'not UTF-8', offset: 0 }
  }
  const cursor: Cursor = { text, at: 0, why: '' }
  skip(cursor, BLANK)
  const value = readValue(cursor, 0)
  if (value === BAD) return { kind: 'bad', why: cursor.why, offset: cursor.at }
  skip(cursor, BLANK)
  return cursor.at === text.length
    ? { kind: 'ok', value }
    : { kind: 'bad', why: 'something after the value', offset: cursor.at }
}

function readValue(cursor: Cursor, depth: number): JsonValue | Bad {
  switch (cursor.text.charAt(cursor.at)) {
    case '{':
      return readObject(cursor, depth + 1)
    case '[':
      return readArray(cursor, depth + 1)
    case '"':
      return readString(cursor)
    case 't':
      return readWord(cursor, 'true', true)
    case 'f':
      return readWord(cursor, 'false', false)
    case 'n':
      return readWord(cursor, 'null', null)
    default:
      return readNumber(cursor)
  }
}

function readObject(cursor: Cursor, depth: number): JsonValue | Bad {
  if (depth > MAX_DEPTH) return fail(cursor, `deeper than ${MAX_DEPTH} levels`)
  const members = new Map<string, JsonValue>()
  if (opensEmpty(cursor, '}')) return members
  do {
    skip(cursor, BLANK)
    const name = cursor.text[cursor.at] === '"' ? readString(cursor) : fail(cursor, 'expected a member name')
    if (name === BAD) return BAD
    // SECURITY: some parsers take the first of two members, some the last. Compared after the escapes are resolved.
    if (members.has(name)) return fail(cursor, 'a member name twice')
    skip(cursor, BLANK)
    if (!take(cursor, ':')) return fail(cursor, 'expected a colon')
    skip(cursor, BLANK)
    const value = readValue(cursor, depth)
    if (value === BAD) return BAD
    members.set(name, value)
    skip(cursor, BLANK)
  } while (take(cursor, ','))
  return take(cursor, '}') ? members : fail(cursor, 'expected a comma or }')
}

function readArray(cursor: Cursor, depth: number): JsonValue | Bad {
  if (depth > MAX_DEPTH) return fail(cursor, `deeper than ${MAX_DEPTH} levels`)
  const elements: JsonValue[] = []
  if (opensEmpty(cursor, ']')) return elements
  do {
    skip(cursor, BLANK)
    const value = readValue(cursor, depth)
    if (value === BAD) return BAD
    elements.push(value)
    skip(cursor, BLANK)
  } while (take(cursor, ','))
  return take(cursor, ']') ? elements : fail(cursor, 'expected a comma or ]')
}

/** Steps over the opening bracket; true where `close` follows at once, which it steps over too. */
function opensEmpty(cursor: Cursor, close: string): boolean {
  cursor.at += 1
  skip(cursor, BLANK)
  return take(cursor, close)
}

function readString(cursor: Cursor): string | Bad {
  cursor.at += 1
  let value = ''
  let escaped = false
  for (;;) {
    value += skip(cursor, PLAIN)
    if (take(cursor, '"')) break
    if (!take(cursor, '\\')) return fail(cursor, 'a control character in a string, or a string without an end')
    const character = readEscape(cursor)
    if (character === BAD) return BAD
    value += character
    escaped = true
  }
  // RFC 7493 §2.1: half of a surrogate pair becomes U+FFFD, an error or itself, depending on the parser.
  if (escaped && /\p{Surrogate}/u.test(value)) return fail(cursor, 'half of a surrogate pair')
  return value
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
  const digits = skip(cursor, NUMBER)
  if (digits === '') return fail(cursor, 'expected a value')
  const value = Number(digits)
  return Number.isFinite(value) ? value : fail(cursor, 'a number out of range')
}

/** Steps over what the sticky `pattern` matches here and returns it; the empty string where nothing does. */
function skip(cursor: Cursor, pattern: RegExp): string {
  pattern.lastIndex = cursor.at
  const found = pattern.exec(cursor.text)?.[0] ?? ''
  cursor.at += found.length
  return found
}

function take(cursor: Cursor, character: string): boolean {
  if (cursor.text[cursor.at] !== character) return false
  cursor.at += 1
  return true
}

function fail(cursor: Cursor, why: string): Bad {
  cursor.why = why
  return BAD
}
