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

const UNRESERVED = /^[A-Za-z0-9._~-]$/
/** RFC 3986 §3.3 pchar less `;`, and the slash; what clients send raw beside it is escaped before matching. */
const LEGAL_IN_PATH = /^[A-Za-z0-9._~!$&'()*+,=:@/-]$/
const HEX_PAIR = /^[0-9A-Fa-f]{2}$/

/** A raw target that must start with `/`. The asterisk-form is the caller's, and malformed here. */
export function parseOriginForm(raw: string): Target {
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
  const pieces: string[] = []
  const bytes: number[] = []
  for (let at = 0; at < raw.length; at += 1) {
    const character = raw.charAt(at)
    if (character !== '%') {
      bytes.push(raw.charCodeAt(at))
      pieces.push(LEGAL_IN_PATH.test(character) ? character : escaped(raw.charCodeAt(at)))
      continue
    }
    const hex = raw.slice(at + 1, at + 3)
    if (!HEX_PAIR.test(hex)) return { why: 'a percent sign without two hex digits' }
    const byte = Number.parseInt(hex, 16)
    if (byte < 0x20 || byte === 0x7f) return { why: 'an escaped control character in the path' }
    if (byte === 0x5c) return { why: 'an escaped backslash in the path' }
    const decoded = String.fromCharCode(byte)
    bytes.push(byte)
    // Once only (RFC 3986 §2.4): `%252e` stays, its `%25` is not a percent sign that begins an escape.
    pieces.push(UNRESERVED.test(decoded) ? decoded : escaped(byte))
    at += 2
  }
  // RFC 3629 §3: an overlong form is a second spelling of a character, a dot among them.
  if (!isUtf8(Uint8Array.from(bytes))) return { why: 'escapes that are not UTF-8' }
  const path = pieces.join('')
  // SECURITY: %2F is a slash to some servers, so the path has to be harmless under that reading too.
  const segments = path.replaceAll('%2F', '/').split('/').slice(1)
  if (segments.some((segment) => segment === '.' || segment === '..')) return { why: 'a dot segment in the path' }
  if (segments.slice(0, -1).includes('')) return { why: 'an empty segment in the path' }
  return { path }
}

function escaped(byte: number): string {
  return `%${byte.toString(16).toUpperCase()}`
}
