// Message framing (RFC 9112 §6) and end-to-end fields (RFC 9110 §7.6.1): where a body ends, and what is passed on.

import { trimOws } from './field-line.ts'
import { headerValues, type RawHeaders, type RequestHead, type StatusHead } from './http1.ts'

/** `length` in bytes; `close`: until the sender closes (responses only). */
export type BodyFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'close' }

/** `upgrade`: lower-case protocols asked for, only where Connection lists `upgrade` too; else empty. */
export type RequestFraming =
  | {
      readonly kind: 'ok'
      readonly body: BodyFraming
      readonly keepAlive: boolean
      readonly expectContinue: boolean
      readonly hostValue: string
      readonly upgrade: string[]
    }
  | { readonly kind: 'refused'; readonly reason: 'malformed' | 'expectation'; readonly code: string }

export type ResponseFraming =
  | { readonly kind: 'ok'; readonly body: BodyFraming; readonly keepAlive: boolean }
  | { readonly kind: 'bad'; readonly code: string }

const NO_BODY: BodyFraming = { kind: 'none' }

/** 15 digits are under 2^53, so the length is exact. */
const MAX_LENGTH_DIGITS = 15

/** Where the body of a request ends, and what else its head asks of the connection. CONNECT is not for here. */
export function frameRequest(head: RequestHead): RequestFraming {
  const { method, version, headers } = head
  const hosts = headerValues(headers, 'host')
  const hostValue = hosts[0]
  // RFC 9112 §3.2. We are stricter: HTTP/1.0 needs a Host too, for without one the request has no name to be judged by.
  if (hostValue === undefined) return malformed('MISSING_HOST')
  if (hosts.length > 1) return malformed('DUPLICATE_HOST')
  if (hostValue === '') return malformed('EMPTY_HOST')

  const body = declaredBody(headers, version) ?? NO_BODY
  if (typeof body === 'string') return malformed(body)
  // SECURITY: node:http and others send the body of a HEAD unframed, and it becomes a request of its own.
  if ((method === 'HEAD' || method === 'TRACE') && !isEmpty(body)) return malformed('BODY_NOT_ALLOWED')

  const expect = listedTokens(headers, 'expect')
  if (expect.some((expectation) => expectation !== '100-continue')) {
    return { kind: 'refused', reason: 'expectation', code: 'UNKNOWN_EXPECTATION' }
  }
  const connection = listedTokens(headers, 'connection')
  // RFC 9110 §7.8 and §10.1.1: Upgrade and 100-continue of an HTTP/1.0 client are ignored.
  const current = version === '1.1'
  return {
    kind: 'ok',
    body,
    keepAlive: staysOpen(version, connection),
    expectContinue: current && expect.length > 0,
    hostValue,
    upgrade: current && connection.includes('upgrade') ? listedTokens(headers, 'upgrade') : [],
  }
}

/** Where the body of the answer to `requestMethod` ends (RFC 9112 §6.3). 101 has none: what follows is not HTTP. */
export function frameResponse(requestMethod: string, head: StatusHead): ResponseFraming {
  const { status, version, headers } = head
  const declared = declaredBody(headers, version)
  if (typeof declared === 'string') return { kind: 'bad', code: declared }
  const open = staysOpen(version, listedTokens(headers, 'connection'))
  if (status < 200 || status === 204) {
    // Transfer-Encoding is forbidden here (RFC 9112 §6.1). Origins that send it may send a last chunk as well: not reused.
    return { kind: 'ok', body: NO_BODY, keepAlive: open && declared?.kind !== 'chunked' }
  }
  if (requestMethod === 'HEAD' || status === 304) return { kind: 'ok', body: NO_BODY, keepAlive: open }
  if (declared === null) return { kind: 'ok', body: { kind: 'close' }, keepAlive: false }
  return { kind: 'ok', body: declared, keepAlive: open }
}

function malformed(code: string): RequestFraming {
  return { kind: 'refused', reason: 'malformed', code }
}

/**
 * The body that the head declares; null where it declares none; or the code of what is wrong.
 * SECURITY: RFC 9112 §6.3 lets a recipient repair some of these. Every repair is a second reading, so none is repaired:
 * one field, one value, one coding.
 */
function declaredBody(headers: RawHeaders, version: '1.0' | '1.1'): BodyFraming | string | null {
  const codings = headerValues(headers, 'transfer-encoding')
  const lengths = headerValues(headers, 'content-length')
  const coding = codings[0]
  const length = lengths[0]
  if (coding !== undefined) {
    if (length !== undefined) return 'LENGTH_WITH_TRANSFER_ENCODING'
    if (codings.length > 1) return 'DUPLICATE_TRANSFER_ENCODING'
    if (version === '1.0') return 'TRANSFER_ENCODING_ON_HTTP_10'
    return coding.toLowerCase() === 'chunked' ? { kind: 'chunked' } : 'BAD_TRANSFER_ENCODING'
  }
  if (length === undefined) return null
  if (lengths.length > 1) return 'DUPLICATE_CONTENT_LENGTH'
  return isLength(length) ? { kind: 'length', length: Number(length) } : 'BAD_CONTENT_LENGTH'
}

/** 1 to 15 decimal digits. `010` is ten: leading zeros have one reading (RFC 9110 §8.6), signs and other bases have more. */
function isLength(value: string): boolean {
  if (value.length === 0 || value.length > MAX_LENGTH_DIGITS) return false
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 0x30
    if (digit < 0 || digit > 9) return false
  }
  return true
}

function isEmpty(body: BodyFraming): boolean {
  return body.kind === 'none' || (body.kind === 'length' && body.length === 0)
}

/** RFC 9112 §9.3. */
function staysOpen(version: '1.0' | '1.1', connection: readonly string[]): boolean {
  if (connection.includes('close')) return false
  return version === '1.1' || connection.includes('keep-alive')
}

/** Members of every field of that name, comma lists taken apart (RFC 9110 §5.6.1), in lower case, empty ones left out. */
function listedTokens(headers: RawHeaders, lowerName: string): string[] {
  const tokens: string[] = []
  for (const value of headerValues(headers, lowerName)) {
    for (const member of value.split(',')) {
      const token = trimOws(member, 0, member.length)
      if (token !== '') tokens.push(token.toLowerCase())
    }
  }
  return tokens
}

/** About this connection only, not about the message (RFC 9110 §7.6.1, §10.1, §11.7, RFC 9113 §3.1). */
const HOP_BY_HOP: readonly string[] = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]

/** Host is written first by the sender, from the permit. We answer Expect ourselves. */
const DROPPED_FROM_REQUESTS: ReadonlySet<string> = new Set([...HOP_BY_HOP, 'expect', 'host'])

/** SECURITY: Alt-Svc invites the client to a way that does not lead past us. */
const DROPPED_FROM_RESPONSES: ReadonlySet<string> = new Set([...HOP_BY_HOP, 'alt-svc'])

/** SECURITY: RFC 9110 §8.6 forbids Content-Length here; a client that obeys it would take the final answer for a body. */
const DROPPED_FROM_INTERIM: ReadonlySet<string> = new Set([...DROPPED_FROM_RESPONSES, 'content-length'])

/** SECURITY: Connection can nominate any name; these were judged or carry credentials, so they reach the other side all the same. */
const NEVER_NOMINATED: ReadonlySet<string> = new Set([
  'authorization',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'cookie',
  'origin',
  'set-cookie',
])

/** What of a request goes on to the origin: order, case and duplicates kept, Content-Length too, in plain decimal (the sender re-frames). */
export function endToEndRequestHeaders(headers: RawHeaders): string[] {
  return without(headers, DROPPED_FROM_REQUESTS)
}

/** What of a response goes back to the client, likewise. */
export function endToEndResponseHeaders(headers: RawHeaders): string[] {
  return without(headers, DROPPED_FROM_RESPONSES)
}

/** What of an interim response (RFC 9110 §15.2) goes back to the client, likewise. */
export function endToEndInterimHeaders(headers: RawHeaders): string[] {
  return without(headers, DROPPED_FROM_INTERIM)
}

function without(headers: RawHeaders, dropped: ReadonlySet<string>): string[] {
  const nominated = new Set(listedTokens(headers, 'connection').filter((name) => !NEVER_NOMINATED.has(name)))
  const kept: string[] = []
  headers.forEach((name, i) => {
    const value = headers[i + 1]
    if (i % 2 === 1 || value === undefined) return
    const lowerName = name.toLowerCase()
    if (dropped.has(lowerName) || nominated.has(lowerName)) return
    kept.push(name, lowerName === 'content-length' ? decimalLength(value) : value)
  })
  return kept
}

/** SECURITY: `010` is ten (RFC 9110 §8.6), but eight for whoever parses by prefix: what we framed by goes on in the one spelling that has one reading. */
function decimalLength(value: string): string {
  return isLength(value) ? String(Number(value)) : value
}

/**
 * Names that some frameworks obey instead of the request line: method overrides of Rails, Express, Spring and Google APIs;
 * URL overrides of IIS rewriting, Symfony and Zend; and what nginx and Traefik tell an authorising service.
 * X-Forwarded-Host, -Proto, -For and -Prefix are not here: they tell where a request came from, not what it asks for.
 */
export const OVERRIDE_HEADERS: readonly string[] = [
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
  'x-original-url',
  'x-rewrite-url',
  'x-override-url',
  'x-original-method',
  'x-original-uri',
  'x-forwarded-method',
  'x-forwarded-uri',
]

const OVERRIDES: ReadonlySet<string> = new Set(OVERRIDE_HEADERS)

/** Which of `OVERRIDE_HEADERS` are present, each once. `_` counts as `-`, because CGI-like origins read it so. */
export function overrideHeaders(headers: RawHeaders): string[] {
  const present = new Set<string>()
  for (let i = 0; i < headers.length; i += 2) {
    const name = String(headers[i]).toLowerCase().replaceAll('_', '-')
    if (OVERRIDES.has(name)) present.add(name)
  }
  return [...present]
}
