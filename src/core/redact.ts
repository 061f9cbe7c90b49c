// Keeps secrets out of everything that is recorded: finds their values and puts a keyed fingerprint in their place.

import { Buffer } from 'node:buffer'
import { createHmac } from 'node:crypto'
import { decodeFully, decodeLayer, type Layer, MAX_DECODE_ROUNDS } from './percent.ts'

/**
 * Every method keeps names and structure, answers the same string when it finds nothing, and leaves its own output alone.
 * A value becomes `hmac:` and 16 hex digits of HMAC-SHA256(key, the value with its percent escapes decoded).
 */
export interface Redactor {
  /** The path of a target, without `?`. */
  path(path: string): string
  /** The query of a target, without `?`. */
  query(query: string | null): string | null
  headerValue(name: string, value: string): string
  /** Anything else a peer wrote: a request line, an SNI, a method, a message. */
  text(value: string): string
  /** The fingerprint of a whole value, as it is. */
  fingerprint(value: Buffer | string): string
}

/** Names of parameters, and of header fields, whose values are secret besides the built-in ones. Case does not count. */
export interface ExtraNames {
  readonly parameters?: readonly string[]
  readonly headers?: readonly string[]
}

const REDACTION_KEY_BYTES = 32

/** `token`, `api_key`, `client_secret` and the like are found by these endings, whatever stands in front. */
const SECRET_ENDING =
  /(?:token|secret|passw(?:or)?d|passphrase|signature|credentials?|(?:api|access|private|secret|auth|subscription|account|encryption|signing)[-_]?key|session[-_]?id)$/
const SECRET_NAMES: readonly string[] = (
  'key apikeys pwd pass sig auth authorization code code_verifier jwt bearer session sid otp ' +
  'assertion client_assertion samlrequest samlresponse awsaccesskeyid'
).split(' ')
const SECRET_HEADERS: readonly string[] = ['authentication', 'x-auth', 'x-authorization', 'x-key']

// Linear by construction: each form starts with a literal, quantifiers in its middle are bounded and disjoint from what
// follows, and the unbounded class stands last, so a match is consumed whole and a failure costs a constant.
const TOKEN_FORMS: readonly string[] = [
  'gh[opsur]_[\\w-]{16,}',
  'github_pat_\\w{16,}',
  'xox[a-z]-[\\w-]{8,}',
  'xapp-[\\w-]{8,}',
  '[sr]k_(?:live|test)_\\w{8,}',
  'whsec_[\\w+/=-]{8,}',
  'A(?:KIA|SIA)[A-Z0-9]{16,}',
  'sk-(?:proj|ant|svcacct|admin)-[\\w-]{8,}',
  // `task-force-…` is no key: after a letter or digit only the older form counts, which has no hyphen inside.
  'sk-[A-Za-z0-9]{32,}',
  '(?<![A-Za-z0-9])sk-[\\w-]{20,}',
  'AIza[\\w-]{30,}',
  'ya29\\.[\\w.-]{8,}',
  'SG\\.[\\w.-]{32,}',
  'npm_[A-Za-z0-9]{16,}',
  'pypi-[\\w-]{16,}',
  'hf_[A-Za-z0-9]{16,}',
  'glpat-[\\w.-]{16,}',
  // The first group stays: the bot's number, the workspace, the scheme.
  '(bot\\d{5,20}:|services/T[A-Za-z0-9]{1,20}/B[A-Za-z0-9]{1,20}/)[\\w-]{8,}',
  '([Bb][Ee][Aa][Rr][Ee][Rr][ \\t+]{1,4}|[Bb][Aa][Ss][Ii][Cc][ \\t+]{1,4})[\\w.~+/=-]{8,}',
]
const TOKEN = new RegExp(TOKEN_FORMS.join('|'), 'g')
const PRIVATE_KEY = /-----BEGIN [A-Z0-9 +]{0,40}PRIVATE[ +]KEY/g

const FINGERPRINT = /^hmac:[0-9a-f]{16}$/
const FINGERPRINT_LENGTH = 21

/** What is left after a redaction is looked at again, since a new neighbour can complete a form. */
const MAX_PASSES = 4
const MAX_NAME_LENGTH = 64

/** Where a secret value ends: `query` at the next parameter, `path` also at the next segment, `text` at the next word. */
const VALUE_END = { query: /&/g, path: /[&/]/g, text: /[\0-\x20&"'<>]/g } as const
const MEMBER_END = /[\0-\x20&,}\]]/g
const LINE_END = /[\r\n]/g
type Context = keyof typeof VALUE_END

/** Half-open, in the coordinates of the text it was found in. */
type Range = readonly [start: number, end: number]

export function createRedactor(key: Buffer, extra: ExtraNames = {}): Redactor {
  if (key.length !== REDACTION_KEY_BYTES)
    throw new RangeError(`a redaction key has ${REDACTION_KEY_BYTES} bytes, not ${key.length}`)
  const lowered = (names: readonly string[] = []): string[] => names.map((name) => name.toLowerCase())
  const parameters = new Set([...SECRET_NAMES, ...lowered(extra.parameters)])
  const headers = new Set([...SECRET_NAMES, ...SECRET_HEADERS, ...lowered(extra.headers)])
  const secretParameter = (name: string): boolean => isSecret(name.toLowerCase(), parameters)

  const fingerprint = (value: Buffer | string): string => {
    const bytes = typeof value === 'string' ? Buffer.from(value, isLatin1(value) ? 'latin1' : 'utf8') : value
    return `hmac:${createHmac('sha256', key).update(bytes).digest('hex').slice(0, 16)}`
  }
  const sealed = (value: string): string =>
    FINGERPRINT.test(value) || value === '' ? value : fingerprint(decodeFully(value))
  const redact = (raw: string, context: Context): string => {
    let value = raw
    for (let pass = 0; pass < MAX_PASSES; pass++) {
      const found = findSecrets(value, context, secretParameter)
      if (found.length === 0) break
      value = replace(value, found, sealed)
    }
    return value
  }
  return {
    path: (path) => redact(path, 'path'),
    query: (query) => (query === null ? null : redact(query, 'query')),
    text: (value) => redact(value, 'text'),
    fingerprint,
    headerValue: (name, value) => {
      const lower = name.toLowerCase()
      if (lower === 'cookie') return sealCookie(value, sealed)
      if (lower === 'set-cookie') return sealFirst(value, sealed)
      if (lower === 'authorization' || lower === 'proxy-authorization') return sealCredentials(value, sealed)
      return isSecret(lower, headers) ? sealed(value) : redact(value, 'text')
    },
  }
}

/** `name` in lower case; of `user[password][0]` and `auth.token` every part counts. */
function isSecret(name: string, names: ReadonlySet<string>): boolean {
  if (names.has(name) || SECRET_ENDING.test(name)) return true
  return /[[.]/.test(name) && name.split(/[[\].]/).some((part) => names.has(part) || SECRET_ENDING.test(part))
}

/** Sorted, disjoint ranges of `raw`. SECURITY: every layer of percent escapes is searched, or `%67hp_…` would pass. */
function findSecrets(raw: string, context: Context, secretName: SecretName): Range[] {
  const found: Range[] = []
  let layer: Layer | null = { text: raw, offsets: null }
  for (let round = 0; layer !== null && round <= MAX_DECODE_ROUNDS; round++) {
    const { text, offsets }: Layer = layer
    const add = (start: number, end: number): void => {
      if (end - start === FINGERPRINT_LENGTH && FINGERPRINT.test(text.slice(start, end))) return
      if (end > start) found.push(offsets === null ? [start, end] : [offsets[start] as number, offsets[end] as number])
    }
    findTokens(text, add)
    findPrivateKeys(text, add)
    findJsonWebTokens(text, add)
    findUserinfo(text, add)
    findParameters(text, context, secretName, add)
    findMembers(text, context, secretName, add)
    layer = decodeLayer(layer, raw.length)
  }
  // Escaped more often than any origin decodes: nobody can say what is in it, so nothing of it is kept.
  if (layer !== null) return [[0, raw.length]]
  return found.length < 2 ? found : merge(found)
}

type Add = (start: number, end: number) => void
type SecretName = (name: string) => boolean

// exec with lastIndex: matchAll costs ten times the search itself when there is nothing to find, which is the common case.
function findTokens(text: string, add: Add): void {
  TOKEN.lastIndex = 0
  for (let match = TOKEN.exec(text); match !== null; match = TOKEN.exec(text)) {
    const kept = match[1] ?? match[2] ?? ''
    add(match.index + kept.length, TOKEN.lastIndex)
  }
}

function findPrivateKeys(text: string, add: Add): void {
  PRIVATE_KEY.lastIndex = 0
  for (let match = PRIVATE_KEY.exec(text); match !== null; match = PRIVATE_KEY.exec(text)) {
    const footer = text.indexOf('-----END', PRIVATE_KEY.lastIndex)
    const close = footer < 0 ? -1 : text.indexOf('-----', footer + 8)
    PRIVATE_KEY.lastIndex = close < 0 ? text.length : close + 5
    add(match.index, PRIVATE_KEY.lastIndex)
  }
}

/** RFC 7519 §3: a dotted run that holds `eyJ` (base64url of `{"`) and two more dots. Each run is looked at once. */
function findJsonWebTokens(text: string, add: Add): void {
  for (let start = text.indexOf('eyJ'); start >= 0; ) {
    let end = start
    let dots = 0
    for (; end < text.length && isTokenUnit(text.charCodeAt(end)); end++) if (text[end] === '.') dots++
    if (dots >= 2) add(start, end)
    start = text.indexOf('eyJ', end)
  }
}

/** RFC 3986 §3.2.1. */
function findUserinfo(text: string, add: Add): void {
  for (let slashes = text.indexOf('//'); slashes >= 0; ) {
    const start = slashes + 2
    let end = start
    let at = start
    for (; end < text.length && !isAuthorityEnd(text.charCodeAt(end)); end++) if (text[end] === '@') at = end
    add(start, at)
    slashes = text.indexOf('//', end === start ? slashes + 1 : end)
  }
}

/** `name=value` anywhere. */
function findParameters(text: string, context: Context, secretName: SecretName, add: Add): void {
  for (let equals = text.indexOf('='); equals >= 0; equals = text.indexOf('=', equals + 1)) {
    if (!secretName(nameBefore(text, equals))) continue
    const quoted = context === 'text' && isQuote(text[equals + 1])
    const start = quoted ? equals + 2 : equals + 1
    const end = quoted ? endOfQuoted(text, start) : endOf(VALUE_END[context], text, start)
    add(start, end)
    equals = end - 1
  }
}

/** `"name": value` of JSON anywhere; `name: value` only where a header field could stand. */
function findMembers(text: string, context: Context, secretName: SecretName, add: Add): void {
  for (let colon = text.indexOf(':'); colon >= 0; colon = text.indexOf(':', colon + 1)) {
    const member = isQuote(text[colon - 1])
    const name = nameBefore(text, member ? colon - 1 : colon)
    const before = text[colon - name.length - 1]
    if (!member && (context !== 'text' || (before !== undefined && before !== '\n'))) continue
    if (!secretName(name)) continue
    const value = text[colon + 1] === ' ' ? colon + 2 : colon + 1
    const quoted = member && isQuote(text[value])
    const start = quoted ? value + 1 : value
    const end = quoted ? endOfQuoted(text, start) : endOf(member ? MEMBER_END : LINE_END, text, start)
    add(start, end)
    colon = end - 1
  }
}

function nameBefore(text: string, end: number): string {
  let start = end
  while (start > 0 && end - start < MAX_NAME_LENGTH && isNameUnit(text.charCodeAt(start - 1))) start--
  return text.slice(start, end)
}

function endOf(stop: RegExp, text: string, from: number): number {
  stop.lastIndex = from
  return stop.exec(text)?.index ?? text.length
}

/** `from` is just after the opening quote. */
function endOfQuoted(text: string, from: number): number {
  const quote = text[from - 1]
  let at = from
  while (at < text.length && text[at] !== quote) at += text[at] === '\\' ? 2 : 1
  return Math.min(at, text.length)
}

const isQuote = (unit: string | undefined): boolean => unit === '"' || unit === "'"
const isAlphanumeric = (unit: number): boolean =>
  (unit >= 0x30 && unit <= 0x39) || (unit >= 0x41 && unit <= 0x5a) || (unit >= 0x61 && unit <= 0x7a)
/** ALPHA DIGIT - . _ */
const isTokenUnit = (unit: number): boolean => isAlphanumeric(unit) || unit === 0x2d || unit === 0x2e || unit === 0x5f
const isNameUnit = (unit: number): boolean => isTokenUnit(unit) || unit === 0x5b || unit === 0x5d
/** / ? # and everything up to and with the space. */
const isAuthorityEnd = (unit: number): boolean => unit <= 0x20 || unit === 0x2f || unit === 0x3f || unit === 0x23

function isLatin1(value: string): boolean {
  return !/[^\0-\xff]/.test(value)
}

function merge(ranges: Range[]): Range[] {
  const merged: Range[] = []
  for (const range of ranges.sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1)
    if (last !== undefined && range[0] < last[1]) merged[merged.length - 1] = [last[0], Math.max(last[1], range[1])]
    else merged.push(range)
  }
  return merged
}

function replace(value: string, ranges: readonly Range[], sealed: (value: string) => string): string {
  let out = ''
  let from = 0
  for (const [start, end] of ranges) {
    out += value.slice(from, start) + sealed(value.slice(start, end))
    from = end
  }
  return out + value.slice(from)
}

/** Every crumb keeps its name. */
function sealCookie(value: string, sealed: (value: string) => string): string {
  return Array.from(value.split(';'), (crumb) => sealPair(crumb, sealed)).join(';')
}

/** ` a=b`: a crumb without a name is a value. */
function sealPair(crumb: string, sealed: (value: string) => string): string {
  const space = crumb.startsWith(' ') ? ' ' : ''
  const pair = crumb.slice(space.length)
  const equals = pair.indexOf('=')
  return `${space}${pair.slice(0, equals + 1)}${sealed(pair.slice(equals + 1))}`
}

/** Set-Cookie: the attributes stay. */
function sealFirst(value: string, sealed: (value: string) => string): string {
  const semicolon = value.indexOf(';')
  return semicolon < 0 ? sealPair(value, sealed) : sealPair(value.slice(0, semicolon), sealed) + value.slice(semicolon)
}

/** RFC 9110 §11.4: the scheme stays. */
function sealCredentials(value: string, sealed: (value: string) => string): string {
  const space = /^[A-Za-z][\w-]{0,31} /.exec(value)?.[0].length ?? 0
  return value.slice(0, space) + sealed(value.slice(space))
}
