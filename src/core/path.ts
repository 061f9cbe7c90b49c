// Request targets: the canonical path that rules match, and the refusal of every path that has more than one reading.

import { isUtf8 } from 'node:buffer'
import { type Authority, parseAuthority } from './address.ts'

/**
 * An origin-form target (RFC 9112 §3.2.1). `path` is canonical and for matching only: escapes of unreserved characters
 * decoded once, all others in upper-case hex. `target` is path and query as the client spelled them, to be sent.
 * `query` is without its `?`; null where there is none.
 */
export type Target =
  | {
      readonly kind: 'ok'
      readonly path: string
      readonly encodedSlash: boolean
      readonly target: string
      readonly query: string | null
    }
  | { readonly kind: 'bad'; readonly reason: 'malformed' | 'path_not_canonical'; readonly why: string }

/** An absolute-form target (RFC 9112 §3.2.2). */
export type AbsoluteTarget =
  | {
      readonly kind: 'ok'
      readonly scheme: 'http' | 'https'
      readonly authority: Authority
      readonly origin: Target & { readonly kind: 'ok' }
    }
  | {
      readonly kind: 'bad'
      readonly reason: 'malformed' | 'host_not_canonical' | 'path_not_canonical'
      readonly why: string
    }

type CanonicalPath = { readonly path: string } | { readonly why: string }

/** Classes of bytes. LEGAL: RFC 3986 §3.3 pchar less `;`, and the slash; what clients send raw beside it is escaped before matching. */
const UNRESERVED = 1
const LEGAL = 2
const PRINTABLE = 4

const CLASS: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => {
  const char = String.fromCharCode(byte)
  const unreserved = /^[A-Za-z0-9._~-]$/.test(char)
  const legal = unreserved || "!$&'()*+,=:@/".includes(char)
  const printable = byte > 0x20 && byte < 0x7f
  return (unreserved ? UNRESERVED : 0) | (legal ? LEGAL : 0) | (printable ? PRINTABLE : 0)
})

const HEX_PAIR = /^[0-9A-Fa-f]{2}$/

/** `byte` is 0 to 255. */
function isByteOf(byte: number, kind: number): boolean {
  return ((CLASS[byte] as number) & kind) !== 0
}

const HASH = 0x23
const PERCENT = 0x25
const DOT = 0x2e
const SLASH = 0x2f
const MARK = 0x3f

/** A raw target that must start with `/`. The asterisk-form is the caller's, and malformed here. */
export function parseOriginForm(raw: string): Target {
  const plain = plainPathEnd(raw)
  if (plain >= 0) {
    const query = plain === raw.length ? null : raw.slice(plain + 1)
    return { kind: 'ok', path: query === null ? raw : raw.slice(0, plain), encodedSlash: false, target: raw, query }
  }
  if (/[\0-\x1f\x7f]/.test(raw)) return bad('path_not_canonical', 'a control character in the target')
  if (!/^[\x21-\x7e]*$/.test(raw)) return bad('malformed', 'a space or a character beyond ASCII in the target')
  if (raw.includes('#')) return bad('malformed', 'a fragment in the target')
  if (!raw.startsWith('/')) return bad('malformed', 'the target does not start with a slash')
  const mark = raw.indexOf('?')
  const canonical = canonicalPath(mark < 0 ? raw : raw.slice(0, mark))
  if ('why' in canonical) return bad('path_not_canonical', canonical.why)
  const { path } = canonical
  return {
    kind: 'ok',
    path,
    encodedSlash: path.includes('%2F'),
    target: raw,
    query: mark < 0 ? null : raw.slice(mark + 1),
  }
}

/**
 * Where the path of a target ends that is canonical as it stands: legal characters alone, nothing escaped, no segment that
 * is empty or begins with a dot. -1 for any other target, the harmless ones among them: those are read in full.
 * SECURITY: what passes here, the full reading takes with the same result.
 */
function plainPathEnd(raw: string): number {
  if (raw.charCodeAt(0) !== SLASH) return -1
  let end = 1
  for (let before = SLASH; end < raw.length; end += 1) {
    const code = raw.charCodeAt(end)
    if (code === MARK) break
    if (before === SLASH && (code === SLASH || code === DOT)) return -1
    if (code > 0xff || !isByteOf(code, LEGAL)) return -1
    before = code
  }
  for (let at = end + 1; at < raw.length; at += 1) {
    const code = raw.charCodeAt(at)
    if (code > 0xff || code === HASH || !isByteOf(code, PRINTABLE)) return -1
  }
  return end
}

/** `http://host[:port]/path` and https alike, by a parser that repairs nothing; without a path, it is `/`. */
export function parseAbsoluteForm(raw: string): AbsoluteTarget {
  const colon = raw.indexOf('://')
  const scheme = raw.slice(0, Math.max(colon, 0)).toLowerCase()
  if (scheme !== 'http' && scheme !== 'https') return bad('malformed', 'not an http:// or https:// URL')
  const rest = raw.slice(colon + 3)
  const end = rest.search(/[/?]/)
  // SECURITY: whatever precedes the first slash or question mark is host and port. Userinfo and backslashes, which let
  // two readers find two hosts, are no part of an authority here.
  const authority = parseAuthority(end < 0 ? rest : rest.slice(0, end), scheme === 'https' ? 443 : 80)
  if (authority === null) return bad('host_not_canonical', 'the authority is not host or host:port')
  const tail = end < 0 ? '' : rest.slice(end)
  const origin = parseOriginForm(tail.startsWith('/') ? tail : `/${tail}`)
  return origin.kind === 'ok' ? { kind: 'ok', scheme, authority, origin } : origin
}

function bad<R extends string>(reason: R, why: string): { kind: 'bad'; reason: R; why: string } {
  return { kind: 'bad', reason, why }
}

function canonicalPath(raw: string): CanonicalPath {
  if (raw.includes('\\')) return { why: 'a backslash in the path' }
  // RFC 3986 §3.3 gives `;` no meaning, servers do: some cut the segment there before they look for dots.
  if (raw.includes(';')) return { why: 'a semicolon in the path' }
  const bytes = new Uint8Array(raw.length)
  let length = 0
  let path = ''
  for (let at = 0; at < raw.length; at += 1) {
    const code = raw.charCodeAt(at)
    if (code !== PERCENT) {
      bytes[length++] = code
      path += isByteOf(code, LEGAL) ? raw.charAt(at) : escaped(code)
      continue
    }
    const hex = raw.slice(at + 1, at + 3)
    if (!HEX_PAIR.test(hex)) return { why: 'a percent sign without two hex digits' }
    const byte = Number.parseInt(hex, 16)
    if (byte < 0x20 || byte === 0x7f) return { why: 'an escaped control character in the path' }
    if (byte === 0x5c) return { why: 'an escaped backslash in the path' }
    bytes[length++] = byte
    // Once only (RFC 3986 §2.4): `%252e` stays, its `%25` is not a percent sign that begins an escape.
    path += isByteOf(byte, UNRESERVED) ? String.fromCharCode(byte) : escaped(byte)
    at += 2
  }
  // RFC 3629 §3: an overlong form is a second spelling of a character, a dot among them.
  if (!isUtf8(bytes.subarray(0, length))) return { why: 'escapes that are not UTF-8' }
  // SECURITY: %2F is a slash to some servers, so the path has to be harmless under that reading too.
  const segments = path.replaceAll('%2F', '/').split('/').slice(1)
  if (segments.some((segment) => segment === '.' || segment === '..')) return { why: 'a dot segment in the path' }
  if (segments.slice(0, -1).includes('')) return { why: 'an empty segment in the path' }
  return { path }
}

function escaped(byte: number): string {
  return `%${byte.toString(16).toUpperCase()}`
}
