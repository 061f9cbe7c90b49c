// One text by which a secret shows itself, and what stands behind it: found, not there, or begun where the text ends.

import { Buffer } from 'node:buffer'
import { base64Spellings, MAX_NEEDLE, spellings } from './redact-values.ts'
import { isTokenUnit } from './redact-tokens.ts'
import { JSON_WEB_TOKEN, type TokenFormat } from './token-formats.ts'

type Coding = 'plain' | 'wide' | 'hex' | 'base64'

/** `secret`: whose it is. `format` null: `text` is all of it; else what follows must have the form. */
export interface Needle {
  readonly secret: number
  readonly text: string
  /** Its first unit. */
  readonly first: number
  readonly coding: Coding
  /** Of base64: bytes before `text` that share its first digits. */
  readonly offset: number
  readonly format: SoughtFormat | null
}

/** `lead`: the form begins so many characters behind the needle's. `reach`: characters after which it is none. */
interface SoughtFormat {
  readonly pattern: RegExp
  readonly lead: number
  readonly reach: number
}

export type Sight = 'absent' | 'begun' | 'found'

/**
 * So many characters of a known secret may leave before it is one that could be: fewer end nearly every message, and a message that
 * waits for an answer must not be held.
 */
const MIN_BEGUN = 4
/** The longest part of a token that has to be seen, save that of a JSON Web Token. */
const REACH = 96
const LONG_REACH = 640
/** Bytes decoded before a token: its form may say what must not stand there. */
const BYTES_BEFORE = 12

/** Each way in which a known value is written, less escapes, which are taken off before. */
export function needlesOfValue(secret: number, value: string): Needle[] {
  const needle = (text: string, coding: Coding): Needle => ({
    secret,
    text: text.slice(0, MAX_NEEDLE),
    first: text.charCodeAt(0),
    coding,
    offset: 0,
    format: null,
  })
  return [
    ...spellings(value).map((text) => needle(text, 'plain')),
    ...wide(value).map((text) => needle(text, 'wide')),
    ...base64Spellings(Buffer.from(value, 'utf8')).map(({ text }) => needle(text, 'base64')),
  ]
}

/** Each way in which the beginning of a token is written. */
export function needlesOfFormat(secret: number, { source, begins }: TokenFormat): Needle[] {
  const reach = source === JSON_WEB_TOKEN.source ? LONG_REACH : REACH
  return begins.flatMap((begin) => {
    const bytes = Buffer.from(begin, 'latin1')
    // `:AA` of a form that looks back at the colon.
    const format = { pattern: new RegExp(source, 'y'), lead: begin.startsWith(':') ? 1 : 0, reach }
    const needle = (text: string, coding: Coding, offset = 0): Needle => ({
      secret,
      text,
      first: text.charCodeAt(0),
      coding,
      offset,
      format,
    })
    const digits = bytes.toString('hex')
    return [
      needle(begin, 'plain'),
      ...wide(begin).map((text) => needle(text, 'wide')),
      ...[...new Set([digits, digits.toUpperCase()])].map((text) => needle(text, 'hex')),
      ...base64Spellings(bytes).map(({ text, offset }) => needle(text, 'base64', offset)),
    ]
  })
}

/** UTF-16, either end first: less the zero at its edge, ASCII is the same in both. */
function wide(value: string): string[] {
  const little = Buffer.from(value, 'utf16le')
  const big = Buffer.from(little).swap16()
  return [...new Set([little, big].map((bytes) => bytes.toString('latin1').replace(/^\0|\0$/, '')))]
}

/** Whether the needle stands in `text` at `at`. `last`: nothing follows `text`. */
export function look(needle: Needle, text: string, at: number, last: boolean): Sight {
  const { format } = needle
  if (format === null) return lookForValue(needle, text, at, last)
  if (!text.startsWith(needle.text, at)) return 'absent'
  return needle.coding === 'plain' ? lookForToken(format, text, at, last) : lookForCoded(needle, format, text, at, last)
}

function lookForValue({ text: sought, coding }: Needle, text: string, from: number, last: boolean): Sight {
  let at = from
  for (let seen = 0; seen < sought.length; at++) {
    if (at >= text.length) return !last && seen >= MIN_BEGUN ? 'begun' : 'absent'
    const unit = text.charCodeAt(at)
    if (unit === sought.charCodeAt(seen)) seen++
    // RFC 2045 §6.8: what a part of mail has in base64 is broken into lines.
    else if (coding !== 'base64' || !isLineBreak(unit)) return 'absent'
  }
  return 'found'
}

function lookForToken({ pattern, lead, reach }: SoughtFormat, text: string, at: number, last: boolean): Sight {
  pattern.lastIndex = at + lead
  if (pattern.test(text)) return 'found'
  return !last && isBegun(text, at, reach) ? 'begun' : 'absent'
}

function lookForCoded(needle: Needle, format: SoughtFormat, text: string, at: number, last: boolean): Sight {
  const { plain, start, cut } = decode(needle, text, at, format.reach)
  return lookForToken(format, plain, start, last || !cut)
}

/** Everything up to the end of `text` could be of one token, which would not be too long. */
function isBegun(text: string, from: number, reach: number): boolean {
  if (text.length - from > reach) return false
  for (let at = from; at < text.length; at++) if (!isRunUnit(text.charCodeAt(at))) return false
  return true
}

/** `start`: where in `plain` the token begins. `cut`: the text ended before what is coded did. */
interface Decoded {
  readonly plain: string
  readonly start: number
  readonly cut: boolean
}

function decode(needle: Needle, text: string, at: number, reach: number): Decoded {
  if (needle.coding === 'wide') return decodeWide(text, at, reach)
  return needle.coding === 'hex' ? decodeHex(text, at, reach) : decodeBase64(needle.offset, text, at, reach)
}

function decodeWide(text: string, from: number, reach: number): Decoded {
  let plain = ''
  let at = from
  for (; at < text.length && plain.length < reach; at += 2) {
    plain += text.charAt(at)
    if (at + 1 < text.length && text.charCodeAt(at + 1) !== 0) return { plain, start: 0, cut: false }
  }
  return { plain, start: 0, cut: at >= text.length }
}

function decodeHex(text: string, from: number, reach: number): Decoded {
  const begin = stepBack(text, from, 2, BYTES_BEFORE, isHexUnit)
  const end = runEnd(text, from, from + 2 * reach, isHexUnit)
  const plain = Buffer.from(text.slice(begin, end), 'hex').toString('latin1')
  return { plain, start: (from - begin) / 2, cut: end === text.length }
}

function decodeBase64(offset: number, text: string, from: number, reach: number): Decoded {
  const shared = offset === 0 ? 0 : offset + 1
  // Without the beginning of its group nobody could decode it either.
  if (from < shared) return NOTHING
  const begin = stepBack(text, from - shared, 4, BYTES_BEFORE / 3, isBase64Unit)
  const end = runEnd(text, from, from + 2 * reach, isBase64OrBreak)
  const plain = Buffer.from(text.slice(begin, end), 'base64').toString('latin1')
  return { plain, start: offset + ((from - shared - begin) / 4) * 3, cut: end === text.length }
}

const NOTHING: Decoded = { plain: '', start: 0, cut: false }

/** So many steps of units of the right kind before `from`. */
function stepBack(text: string, from: number, step: number, steps: number, isUnit: (unit: number) => boolean): number {
  let at = from
  for (let left = steps; left > 0 && at >= step; left--, at -= step) {
    for (let each = at - step; each < at; each++) if (!isUnit(text.charCodeAt(each))) return at
  }
  return at
}

function runEnd(text: string, from: number, limit: number, isUnit: (unit: number) => boolean): number {
  let end = from
  while (end < text.length && end < limit && isUnit(text.charCodeAt(end))) end++
  return end
}

const isLineBreak = (unit: number): boolean => unit === 0x0d || unit === 0x0a

const isHexUnit = (unit: number): boolean =>
  (unit >= 0x30 && unit <= 0x39) || (unit >= 0x41 && unit <= 0x46) || (unit >= 0x61 && unit <= 0x66)

/** The digits of both alphabets (RFC 4648 §4, §5). */
const isBase64Unit = (unit: number): boolean => (isTokenUnit(unit) && unit !== 0x2e) || unit === 0x2b || unit === 0x2f

const isBase64OrBreak = (unit: number): boolean => isBase64Unit(unit) || isLineBreak(unit)

/** What some form has in its middle: a unit of a token, or `: / + = ~`. */
const isRunUnit = (unit: number): boolean =>
  isTokenUnit(unit) || unit === 0x3a || unit === 0x2f || unit === 0x2b || unit === 0x3d || unit === 0x7e
