// Hosts and authorities: the one canonical form in which names and addresses are compared, recorded and dialled.

import { isIPv4, isIPv6 } from 'node:net'
import { domainToASCII, domainToUnicode } from 'node:url'

/** RFC 1035 §2.3.4, in characters, without the trailing dot. */
const MAX_NAME_LENGTH = 253
const MAX_LABEL_LENGTH = 63
const HYPHEN = 0x2d
const UNDERSCORE = 0x5f
/** The longest text of an IPv6 address: six groups of four and a dotted quad. */
const MAX_IPV6_LENGTH = 45
const MAX_PORT = 65_535

/**
 * A destination. `text` is canonical, so equal hosts have equal texts: a lower-case A-label name without trailing dot,
 * a dotted quad, or RFC 5952 IPv6 without brackets.
 */
export interface Host {
  readonly kind: 'name' | 'ipv4' | 'ipv6'
  readonly text: string
}

/** RFC 9110 §4.3.1 origin without its scheme; `port` is 1..65535. */
export interface Authority {
  readonly host: Host
  readonly port: number
}

/** A configured host: usable, or wrong with the corrected form to print (null: no correction can be guessed). */
export type ConfiguredHost =
  | { readonly kind: 'ok'; readonly host: Host }
  | { readonly kind: 'bad'; readonly why: string; readonly canonical: string | null }

/** The 4 or 16 bytes of an address text without brackets; null for anything else, zone ids and octal quads included. */
export function addressBytes(text: string): readonly number[] | null {
  if (isIPv4(text)) return text.split('.').map(Number)
  // A zone id names an interface of this machine, which no peer has a say in (RFC 4007 §11.2).
  if (text.length > MAX_IPV6_LENGTH || text.includes('%') || !isIPv6(text)) return null
  const gap = text.indexOf('::')
  if (gap < 0) return groupBytes(text)
  const head = groupBytes(text.slice(0, gap))
  const tail = groupBytes(text.slice(gap + 2))
  return [...head, ...Array.from({ length: 16 - head.length - tail.length }, () => 0), ...tail]
}

/** Whether `bytes` are an IPv4-mapped IPv6 address, ::ffff:0:0/96 (RFC 4291 §2.5.5.2). */
export function isMapped(bytes: readonly number[]): boolean {
  return bytes.length === 16 && bytes.slice(0, 12).every((byte, index) => byte === (index < 10 ? 0 : 0xff))
}

/**
 * A host as a peer spells it: ASCII only, IPv6 in brackets only. Null for every spelling that some other reader could
 * take for another host: `127.1`, `0x7f.1`, octal quads, empty labels, zone ids, percent escapes.
 */
export function parseHost(raw: string): Host | null {
  if (raw.startsWith('[')) return raw.endsWith(']') ? ipv6Host(raw.slice(1, -1)) : null
  // An address ends in a digit, a name hardly ever: the look at one character spares most names the other.
  if (isDigit(raw.charCodeAt(raw.length - 1)) && isIPv4(raw)) return { kind: 'ipv4', text: raw }
  return nameHost(raw)
}

/** An SNI. RFC 6066 §3 forbids literals there, yet some clients send them, IPv6 without its brackets. */
export function parseServerName(raw: string): Host | null {
  return parseHost(raw) ?? ipv6Host(raw)
}

/** `host`, `host:port` or `[v6]:port`; null without a port when `defaultPort` is null. */
export function parseAuthority(raw: string, defaultPort: number | null): Authority | null {
  // In brackets, the colons belong to the address: only one after them starts the port.
  const colon = raw.indexOf(':', raw.startsWith('[') ? raw.indexOf(']') : 0)
  const host = parseHost(colon < 0 ? raw : raw.slice(0, colon))
  const port = colon < 0 ? defaultPort : parsePort(raw.slice(colon + 1))
  return host === null || port === null ? null : { host, port }
}

/** The host as it stands in an authority: IPv6 in brackets. */
export function formatHost(host: Host): string {
  return host.kind === 'ipv6' ? `[${host.text}]` : host.text
}

/** `host:port`, or `host` alone where the port is `defaultPort`. */
export function formatAuthority(authority: Authority, defaultPort: number | null): string {
  const host = formatHost(authority.host)
  return authority.port === defaultPort ? host : `${host}:${authority.port}`
}

export function sameHost(a: Host, b: Host): boolean {
  return a.kind === b.kind && a.text === b.text
}

/** A host as an operator writes it. Only the canonical spelling is taken; any other is answered with its correction. */
export function parseConfiguredHost(raw: string): ConfiguredHost {
  const host = parseHost(raw)
  if (host !== null) {
    const canonical = formatHost(host)
    if (canonical === raw) return { kind: 'ok', host }
    return bad(host.kind === 'ipv6' ? 'not the shortest form (RFC 5952)' : 'upper case or a trailing dot', canonical)
  }
  const bare = ipv6Host(raw)
  if (bare !== null) return bad('an IPv6 address stands in brackets', formatHost(bare))
  const ascii = asciiName(raw)
  if (ascii !== null) return bad('an international name is written in its ASCII form', formatHost(ascii))
  const inside = hostInside(raw)
  if (inside !== null) return bad('only the host stands here, without scheme, port or path', formatHost(inside))
  return bad('not a host name (labels of a-z 0-9 - _), not an IPv4 address, not an IPv6 address in brackets', null)
}

/**
 * The host of a socket address, zone id taken off. A mapped address is the IPv4 peer that a dual-stack socket saw.
 * Throws when `text` is no address: the system does not give such a thing.
 */
export function hostFromAddress(text: string): Host {
  const zone = text.indexOf('%')
  const bytes = addressBytes(zone < 0 ? text : text.slice(0, zone))
  if (bytes === null) throw new TypeError(`not an IP address: ${JSON.stringify(text)}`)
  if (isMapped(bytes)) return { kind: 'ipv4', text: bytes.slice(12).join('.') }
  return bytes.length === 4 ? { kind: 'ipv4', text: bytes.join('.') } : { kind: 'ipv6', text: ipv6Text(bytes) }
}

function bad(why: string, canonical: string | null): ConfiguredHost {
  return { kind: 'bad', why, canonical }
}

function nameHost(raw: string): Host | null {
  const length = raw.endsWith('.') ? raw.length - 1 : raw.length
  if (length > MAX_NAME_LENGTH) return null
  let last = 0
  for (let start = 0; start <= length; ) {
    const dot = raw.indexOf('.', start)
    const end = dot < 0 ? length : dot
    if (!isLabel(raw, start, end)) return null
    last = start
    start = end + 1
  }
  const text = raw.slice(0, length).toLowerCase()
  // SECURITY: resolvers and URL parsers read a last label of digits as an address (WHATWG URL "ends in a number").
  if (isDigit(text.charCodeAt(last)) && /^(?:[0-9]+|0x[0-9a-f]*)$/.test(text.slice(last))) return null
  return { kind: 'name', text }
}

/** A label of `raw` from `start` to `end`: 1 to 63 of `A-Z a-z 0-9 _ -`, no hyphen at either end. */
function isLabel(raw: string, start: number, end: number): boolean {
  if (end === start || end - start > MAX_LABEL_LENGTH) return false
  // SECURITY: before lower-casing, which turns letters beyond ASCII (U+212A) into ASCII ones.
  for (let at = start; at < end; at += 1) if (!isLabelCharacter(raw.charCodeAt(at))) return false
  if (raw.charCodeAt(start) === HYPHEN || raw.charCodeAt(end - 1) === HYPHEN) return false
  return raw.charCodeAt(start + 2) !== HYPHEN || isDecodable(raw.slice(start, end).toLowerCase())
}

function isLabelCharacter(code: number): boolean {
  const lower = code | 0x20
  return (lower >= 0x61 && lower <= 0x7a) || isDigit(code) || code === HYPHEN || code === UNDERSCORE
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}

/** Punycode that does not decode, or decodes to what has another spelling, is two names in one (RFC 5891 §5.4). */
function isDecodable(label: string): boolean {
  if (!label.startsWith('xn--')) return true
  // What does not decode comes back empty from Node 20 and unchanged from Node 24.
  const decoded = domainToUnicode(label)
  return /[^\0-\x7f]/.test(decoded) && domainToASCII(decoded) === label
}

function ipv6Host(text: string): Host | null {
  const bytes = addressBytes(text)
  return bytes?.length === 16 ? { kind: 'ipv6', text: ipv6Text(bytes) } : null
}

function parsePort(digits: string): number | null {
  if (!/^[1-9][0-9]{0,4}$/.test(digits)) return null
  const port = Number(digits)
  return port <= MAX_PORT ? port : null
}

/** Bytes of groups written without `::`; the text is known to be valid. */
function groupBytes(groups: string): readonly number[] {
  if (groups === '') return []
  return groups.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number)
    const value = Number.parseInt(group, 16)
    return [value >> 8, value & 0xff]
  })
}

/** RFC 5952 §4, §5: lower case, the first longest run of two or more zero groups as `::`, mapped addresses dotted. */
function ipv6Text(bytes: readonly number[]): string {
  if (isMapped(bytes)) return `::ffff:${bytes.slice(12).join('.')}`
  const groups = Array.from({ length: 8 }, (_, index) => {
    const [high, low] = bytes.slice(index * 2, index * 2 + 2) as [number, number]
    return ((high << 8) | low).toString(16)
  })
  // Longest run first, so that the first match of the loop is the run to shorten.
  for (let length = 8; length >= 2; length -= 1) {
    for (let start = 0; start + length <= 8; start += 1) {
      if (!groups.slice(start, start + length).every((group) => group === '0')) continue
      return `${groups.slice(0, start).join(':')}::${groups.slice(start + length).join(':')}`
    }
  }
  return groups.join(':')
}

/** The name that IDNA (UTS #46) makes of letters beyond ASCII; the ASCII part must be that of a name already. */
function asciiName(raw: string): Host | null {
  const isInternational = /[^\0-\x7f]/.test(raw) && /^[A-Za-z0-9_.\x80-\uffff-]+$/.test(raw)
  return isInternational ? parseHost(domainToASCII(raw)) : null
}

/** The host of a URL or of `host:port`, to print as the correction. */
function hostInside(raw: string): Host | null {
  const scheme = raw.indexOf('://')
  const rest = scheme < 0 ? raw : raw.slice(scheme + 3)
  const slash = rest.indexOf('/')
  // The port is thrown away: any will do as the default.
  return parseAuthority(slash < 0 ? rest : rest.slice(0, slash), MAX_PORT)?.host ?? null
}
