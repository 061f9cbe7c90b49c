// The grammar of an HTTP/2 field block (RFC 9113 §8.2, §8.3), shared by requests, responses and trailers.

import { isByteOf, skip, TOKEN, VALUE } from './field-line.ts'
import type { RawHeaders } from './http1.ts'

/** Without the prefix: the same fault has this name in HTTP/1.1 too. */
export type Http2FieldFault =
  | 'BAD_NAME'
  | 'BAD_VALUE'
  | 'UNDERSCORE_FRAMING'
  | 'H2_UPPERCASE_NAME'
  | 'H2_CONNECTION_FIELD'
  | 'H2_PSEUDO_MISPLACED'
  | 'H2_PSEUDO_DUPLICATE'
  | 'H2_PSEUDO_UNKNOWN'

/**
 * Puts the pseudo-fields that `fields` begin with into `pseudo`, their values unread; answers the position of the first
 * regular field. SECURITY: each once and only known ones (RFC 9113 §8.3), or two readers take two different requests.
 */
export function takePseudoFields(
  fields: RawHeaders,
  known: ReadonlySet<string>,
  pseudo: Map<string, string>,
): number | Http2FieldFault {
  let at = 0
  for (; at < fields.length; at += 2) {
    const name = fields[at] as string
    if (!name.startsWith(':')) break
    if (!known.has(name)) return 'H2_PSEUDO_UNKNOWN'
    if (pseudo.has(name)) return 'H2_PSEUDO_DUPLICATE'
    pseudo.set(name, fields[at + 1] as string)
  }
  return at
}

/** What is wrong with one regular field. Whitespace around the value is for the caller to judge. */
export function regularFieldFault(name: string, value: string): Http2FieldFault | null {
  const fault = nameFault(name)
  if (fault !== null) return fault
  // SECURITY: a CR or LF here is a line of its own on an HTTP/1.1 connection behind us.
  if (skip(value, 0, VALUE) < value.length) return 'BAD_VALUE'
  if (CONNECTION_SPECIFIC.has(name)) return 'H2_CONNECTION_FIELD'
  // SECURITY: as in field-line.ts, for origins that turn `_` into `-`.
  return name === 'content_length' || name === 'transfer_encoding' ? 'UNDERSCORE_FRAMING' : null
}

function nameFault(name: string): Http2FieldFault | null {
  if (name === '') return 'BAD_NAME'
  if (name.startsWith(':')) return 'H2_PSEUDO_MISPLACED'
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i)
    if (code >= 0x41 && code <= 0x5a) return 'H2_UPPERCASE_NAME'
    if (!isByteOf(code, TOKEN)) return 'BAD_NAME'
  }
  return null
}

/** SECURITY: RFC 9113 §8.2.2. `transfer-encoding` above all: the next hop in HTTP/1.1 would frame by it. */
const CONNECTION_SPECIFIC: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])

/** Not written into a block: `:authority` says what Host does, and `te` has one value left, which its sender decides on. */
const NOT_WRITTEN: ReadonlySet<string> = new Set([...CONNECTION_SPECIFIC, 'http2-settings', 'host', 'te'])

/**
 * Appends fields of either version to a block, names in lower case, without the connection-specific ones, Host and TE.
 * Throws on a name or value that no field can have: that is a bug of ours.
 * SECURITY: second line against header injection; the first is that nothing parsed contains such bytes.
 */
export function appendRegularFields(block: string[], headers: RawHeaders): void {
  for (let i = 0; i < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase()
    const value = headers[i + 1]
    if (NOT_WRITTEN.has(name)) continue
    if (value === undefined || nameFault(name) !== null || skip(value, 0, VALUE) < value.length)
      throw new Error('a field block to be sent contains what is no field')
    block.push(name, value)
  }
}
