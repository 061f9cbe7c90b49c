// Values whose names say that they are secret: parameters, members of JSON, elements, parts of forms, header lines.

import type { Add } from './redact-range.ts'
import { isTokenUnit } from './redact-tokens.ts'

/** `token`, `api_key`, `client_secret` and the like are found by these endings, whatever stands in front. */
const SECRET_ENDING =
  /(?:token|secret|passw(?:or)?d|passphrase|signature|credentials?|authorization|(?:api|access|private|secret|auth|subscription|account|encryption|signing)[-_]?key|session[-_]?id)$/
/** The two letters that such an ending has last: a name without them need not be searched for one. */
const LAST_LETTERS: ReadonlySet<string> = new Set('en et wd rd se re al ls on ey id'.split(' '))
const SECRET_NAMES: readonly string[] = (
  'key apikeys pwd pass sig auth authorization code code_verifier jwt bearer session sid otp ' +
  'assertion client_assertion samlrequest samlresponse awsaccesskeyid cookie set-cookie'
).split(' ')
const SECRET_HEADERS: readonly string[] = ['authentication', 'x-auth', 'x-key']

export type Context = 'query' | 'path' | 'text'

/** Where a secret value ends: `query` at the next parameter, `path` also at the next segment, `text` at the next word. */
const VALUE_END: Readonly<Record<Context, RegExp>> = { query: /&/g, path: /[&/]/g, text: /[\0-\x20&"'<>]/g }
const MEMBER_END = /[\0-\x20&,}\]]/g
const LINE_END = /[\r\n]/g

const MAX_NAME_LENGTH = 64
/** White space that may stand between a name, its colon and its value. */
const MAX_SPACE = 32
/** From the name of a part to the empty line that ends its head (RFC 7578). */
const MAX_PART_HEAD = 1_024

export type SecretName = (name: string) => boolean

export function secretParameters(extra: readonly string[]): SecretName {
  return oneOf([...SECRET_NAMES, ...extra])
}

export function secretHeaders(extra: readonly string[]): SecretName {
  return oneOf([...SECRET_NAMES, ...SECRET_HEADERS, ...extra])
}

function oneOf(written: readonly string[]): SecretName {
  const names = new Set(written.map((name) => name.toLowerCase()))
  const isSecret = (name: string): boolean =>
    names.has(name) || (LAST_LETTERS.has(name.slice(-2)) && SECRET_ENDING.test(name))
  // Of `user[password][0]` and `auth.token` every part counts.
  return (name) => {
    const lower = name.toLowerCase()
    return isSecret(lower) || (/[[.]/.test(lower) && lower.split(/[[\].]/).some(isSecret))
  }
}

/** `name=value` anywhere; in a form of several parts the value stands behind the head of the part. */
export function findParameters(text: string, context: Context, isSecret: SecretName, add: Add): void {
  for (let equals = text.indexOf('='); equals >= 0; equals = text.indexOf('=', equals + 1)) {
    const name = nameBefore(text, equals)
    const quote = context === 'text' ? quoteAt(text, equals + 1) : null
    if (name === 'name' && quote !== null) equals = Math.max(equals, findPart(text, quote, isSecret, add) - 1)
    if (!isSecret(name)) continue
    const start = quote?.after ?? equals + 1
    const end = quote === null ? endOf(VALUE_END[context], text, start) : endOfQuoted(text, quote)
    add(start, end)
    equals = end - 1
  }
}

/** Answers where to go on: behind the value, or where it began. */
function findPart(text: string, quote: Quote, isSecret: SecretName, add: Add): number {
  const end = endOfQuoted(text, quote)
  if (end - quote.after > MAX_NAME_LENGTH || !isSecret(text.slice(quote.after, end))) return quote.after
  const head = /\r?\n\r?\n/.exec(text.slice(end, end + MAX_PART_HEAD))
  if (head === null) return end
  const start = end + head.index + head[0].length
  const boundary = text.indexOf('\n--', start)
  const stop = boundary < 0 ? text.length : boundary
  add(start, stop)
  return stop
}

/** `"name": value` of JSON anywhere; `name: value` only where a header field could stand. */
export function findMembers(text: string, context: Context, isSecret: SecretName, add: Add): void {
  for (let colon = text.indexOf(':'); colon >= 0; colon = text.indexOf(':', colon + 1)) {
    const nameEnd = beforeSpace(text, colon)
    const quoted = isQuote(text[nameEnd - 1])
    const name = nameBefore(text, quoted ? beforeBackslashes(text, nameEnd - 1) : nameEnd)
    const before = text[nameEnd - name.length - 1]
    if (!quoted && (context !== 'text' || (before !== undefined && before !== '\n'))) continue
    if (!isSecret(name)) continue
    const value = quoted ? afterSpace(text, colon + 1) : colon + (text[colon + 1] === ' ' ? 2 : 1)
    const quote = quoted ? quoteAt(text, value) : null
    const start = quote?.after ?? value
    const end = quote === null ? endOf(quoted ? MEMBER_END : LINE_END, text, start) : endOfQuoted(text, quote)
    const nested = quoted && (text[start] === '[' || text[start] === '{') ? endOfNested(text, start) : end
    add(start, nested)
    colon = nested - 1
  }
}

/** `<name>value</name>` */
export function findElements(text: string, isSecret: SecretName, add: Add): void {
  for (let close = text.indexOf('>'); close >= 0; close = text.indexOf('>', close + 1)) {
    const name = nameBefore(text, close)
    if (text[close - name.length - 1] !== '<' || !isSecret(name)) continue
    const next = text.indexOf('<', close)
    add(close + 1, next < 0 ? text.length : next)
  }
}

function nameBefore(text: string, end: number): string {
  let start = end
  while (start > 0 && end - start < MAX_NAME_LENGTH && isNameUnit(text.charCodeAt(start - 1))) start--
  return text.slice(start, end)
}

/** A quote as it opens a value. JSON within JSON has `backslashes` in front of its quotes. */
interface Quote {
  readonly mark: string
  readonly backslashes: number
  readonly after: number
}

function quoteAt(text: string, from: number): Quote | null {
  let at = from
  while (text[at] === '\\' && at - from < MAX_SPACE) at++
  const mark = text[at]
  return mark === '"' || mark === "'" ? { mark, backslashes: at - from, after: at + 1 } : null
}

/** A quote that ends a value has as many backslashes as the one that opened it, and those of backslashes before it. */
function endOfQuoted(text: string, { mark, backslashes, after }: Quote): number {
  for (let at = text.indexOf(mark, after); at >= 0; at = text.indexOf(mark, at + 1)) {
    let run = 0
    while (at - run > after && text[at - run - 1] === '\\') run++
    if (run % (2 * (backslashes + 1)) === backslashes) return at - backslashes
  }
  return text.length
}

/** The list or object that opens at `from`, to its end; one that has none runs to the end of the text. */
function endOfNested(text: string, from: number): number {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    const unit = text[at]
    if (unit === '[' || unit === '{') depth++
    else if (unit === ']' || unit === '}') depth--
    else if (unit === '"') at = endOfQuoted(text, { mark: '"', backslashes: 0, after: at + 1 })
    if (depth === 0) return at + 1
  }
  return text.length
}

function endOf(stop: RegExp, text: string, from: number): number {
  stop.lastIndex = from
  return stop.exec(text)?.index ?? text.length
}

function beforeSpace(text: string, end: number): number {
  let at = end
  while (end - at < MAX_SPACE && isSpace(text[at - 1])) at--
  return at
}

function afterSpace(text: string, from: number): number {
  let at = from
  while (at - from < MAX_SPACE && isSpace(text[at])) at++
  return at
}

function beforeBackslashes(text: string, end: number): number {
  let at = end
  while (end - at < MAX_SPACE && text[at - 1] === '\\') at--
  return at
}

const isQuote = (unit: string | undefined): boolean => unit === '"' || unit === "'"
const isSpace = (unit: string | undefined): boolean => unit === ' ' || unit === '\t' || unit === '\n' || unit === '\r'
/** A unit of a token, or a bracket. */
const isNameUnit = (unit: number): boolean => isTokenUnit(unit) || unit === 0x5b || unit === 0x5d
