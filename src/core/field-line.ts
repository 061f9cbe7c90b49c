// The grammar of one field line (RFC 9112 §5), shared by heads and trailers, and of the bytes it is made of.

export type FieldFault =
  | 'BARE_LF'
  | 'BARE_CR'
  | 'BAD_NAME'
  | 'BAD_VALUE'
  | 'OBS_FOLD'
  | 'SPACE_BEFORE_COLON'
  | 'UNDERSCORE_FRAMING'

/** Why a scan stopped short: the bytes ran out, or a fault. Positions are numbers, so the two never mix. */
type FieldStop = 'MORE' | FieldFault

const HTAB = 0x09
export const LF = 0x0a
export const CR = 0x0d
export const SP = 0x20
const COLON = 0x3a

/** Classes of bytes, for `skip`. */
export const TOKEN = 1
export const TARGET = 2
export const VALUE = 4
/** TOKEN less the underscore, for the names that `scanPlainFieldLine` takes. */
const PLAIN_NAME = 8
const TOKEN_MARKS = "!#$%&'*+-.^_`|~"

/** What each byte may be part of: RFC 9110 §5.6.2 token, printable ASCII, §5.5 field value (obs-text and HTAB included). */
const CLASS: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => {
  const char = String.fromCharCode(byte)
  const alphanumeric = (char >= '0' && char <= '9') || (char >= 'A' && char <= 'Z') || (char >= 'a' && char <= 'z')
  const printable = byte > SP && byte < 0x7f
  const token = alphanumeric || TOKEN_MARKS.includes(char)
  const value = printable || byte === SP || byte === HTAB || byte >= 0x80
  const plain = token && char !== '_'
  return (token ? TOKEN : 0) | (printable ? TARGET : 0) | (value ? VALUE : 0) | (plain ? PLAIN_NAME : 0)
})

/** Whether the byte (0 to 255) is of the class. */
export function isByteOf(byte: number, kind: number): boolean {
  return ((CLASS[byte] as number) & kind) !== 0
}

/** First position from `at` whose byte is not of `kind`; `text.length` when the text ends first. */
export function skip(text: string, at: number, kind: number): number {
  let end = at
  // Past the end charCodeAt gives NaN, and one lookup of that makes every later one slow.
  while (end < text.length && isByteOf(text.charCodeAt(end), kind)) end++
  return end
}

/** What is wrong with the byte at `at`, where a scan stopped: a bare LF has its own name, the rest is `otherwise`. */
export function lineFault<F extends string>(text: string, at: number, otherwise: F): F | 'BARE_LF' {
  return text.charCodeAt(at) === LF ? 'BARE_LF' : otherwise
}

/** The position after the CRLF at `at`, where the scan of a line's last part stopped. */
export function endOfLine<F extends string>(
  text: string,
  at: number,
  otherwise: F,
): number | F | 'MORE' | 'BARE_LF' | 'BARE_CR' {
  if (at === text.length) return 'MORE'
  if (text.charCodeAt(at) !== CR) return lineFault(text, at, otherwise)
  if (at + 1 === text.length) return 'MORE'
  return text.charCodeAt(at + 1) === LF ? at + 2 : 'BARE_CR'
}

/**
 * `scanFieldLine` for the line that almost every field is: whole, no underscore, at most one space before the value and no blank
 * behind it. Answers -1 for any other, and appends nothing then. `bytes` are those of `text`: reading them in place of characters
 * halves the cost of a head (1.6 to 0.75 µs for 11 fields).
 * SECURITY: what it takes, `scanFieldLine` takes with the same result; what is wrong with a line is not said here.
 */
export function scanPlainFieldLine(bytes: Uint8Array, text: string, at: number, headers: string[]): number {
  const { length } = text
  let colon = at
  while (colon < length && ((CLASS[bytes[colon] as number] as number) & PLAIN_NAME) !== 0) colon++
  if (colon === at || colon >= length || bytes[colon] !== COLON) return -1
  const from = bytes[colon + 1] === SP ? colon + 2 : colon + 1
  let end = from
  while (end < length && ((CLASS[bytes[end] as number] as number) & VALUE) !== 0) end++
  if (end + 1 >= length || bytes[end] !== CR || bytes[end + 1] !== LF) return -1
  if (end > from && (isOws(bytes[from] as number) || isOws(bytes[end - 1] as number))) return -1
  headers.push(text.slice(at, colon), text.slice(from, end))
  return end + 2
}

/** Reads the field line at `at`, appends its name and value to `headers`, answers the position after its CRLF. */
export function scanFieldLine(text: string, at: number, headers: string[]): number | FieldStop {
  const first = text.charCodeAt(at)
  // SECURITY: obs-fold (RFC 9112 §5.2), or an indented first field: some readers take it as a field of its own.
  if (first === SP || first === HTAB) return 'OBS_FOLD'
  const colon = skip(text, at, TOKEN)
  if (colon === text.length) return 'MORE'
  const stop = text.charCodeAt(colon)
  // SECURITY: `Content-Length : 5` is read by some and skipped by others (RFC 9112 §5.1).
  if (stop === SP || stop === HTAB) return 'SPACE_BEFORE_COLON'
  if (stop !== COLON || colon === at) return lineFault(text, colon, 'BAD_NAME')
  const name = text.slice(at, colon)
  if (spellsFramingWithUnderscore(name)) return 'UNDERSCORE_FRAMING'

  const valueEnd = skip(text, colon + 1, VALUE)
  const next = endOfLine(text, valueEnd, 'BAD_VALUE')
  if (typeof next === 'string') return next
  headers.push(name, trimOws(text, colon + 1, valueEnd))
  return next
}

/** `text` from `start` to `end` without the SP and HTAB around it, and nothing else: String.trim also eats 0x0b and 0xa0. */
export function trimOws(text: string, start: number, end: number): string {
  let from = start
  let to = end
  while (from < to && isOws(text.charCodeAt(from))) from++
  while (to > from && isOws(text.charCodeAt(to - 1))) to--
  return text.slice(from, to)
}

function isOws(code: number): boolean {
  return code === SP || code === HTAB
}

/** SECURITY: CGI-like origins turn `-` and `_` into the same variable and read `Content_Length` as the real one. */
function spellsFramingWithUnderscore(name: string): boolean {
  if (name.length !== 'content-length'.length && name.length !== 'transfer-encoding'.length) return false
  if (!name.includes('_')) return false
  const dashed = name.toLowerCase().replaceAll('_', '-')
  return dashed === 'content-length' || dashed === 'transfer-encoding'
}
