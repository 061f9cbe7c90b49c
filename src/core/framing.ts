// Message framing (RFC 9112 §6) and end-to-end fields (RFC 9110 §7.6.1): where a body ends, and what is passed on.

import { trimOws } from './field-line.ts'
import {
  AUTHENTICATION,
  CONNECTION,
  CONTENT_LENGTH,
  DROPPED_FROM_INTERIM,
  DROPPED_FROM_REQUESTS,
  DROPPED_FROM_RESPONSES,
  EXPECT,
  HOST,
  roleOf,
  TRANSFER_ENCODING,
  UPGRADE,
} from './field-name.ts'
import type { RawHeaders, RequestHead, StatusHead } from './http1.ts'

export { OVERRIDE_HEADERS, overrideHeaders } from './override-header.ts'

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
const CHUNKED: BodyFraming = { kind: 'chunked' }
const UNTIL_CLOSE: BodyFraming = { kind: 'close' }

/** 15 digits are under 2^53, so the length is exact. */
const MAX_LENGTH_DIGITS = 15

/** Where the body of a request ends, and what else its head asks of the connection. CONNECT is not for here. */
export function frameRequest(head: RequestHead): RequestFraming {
  const { method, version, headers } = head
  const fields = framingFields(headers)
  // RFC 9112 §3.2. We are stricter: HTTP/1.0 needs a Host too, for without one the request has no name to be judged by.
  if (fields.hosts === 0) return malformed('MISSING_HOST')
  if (fields.hosts > 1) return malformed('DUPLICATE_HOST')
  if (fields.host === '') return malformed('EMPTY_HOST')

  const body = declaredBody(fields, version) ?? NO_BODY
  if (typeof body === 'string') return malformed(body)
  // SECURITY: node:http and others send the body of a HEAD unframed, and it becomes a request of its own.
  if ((method === 'HEAD' || method === 'TRACE') && !isEmpty(body)) return malformed('BODY_NOT_ALLOWED')

  const { expect, connection } = fields
  if (expect?.some((expectation) => expectation !== '100-continue') === true) {
    return { kind: 'refused', reason: 'expectation', code: 'UNKNOWN_EXPECTATION' }
  }
  // RFC 9110 §7.8 and §10.1.1: Upgrade and 100-continue of an HTTP/1.0 client are ignored.
  const current = version === '1.1'
  return {
    kind: 'ok',
    body,
    keepAlive: staysOpen(version, connection),
    expectContinue: current && expect !== null && expect.length > 0,
    hostValue: fields.host,
    upgrade: (current && connection?.includes('upgrade') === true ? fields.upgrade : null) ?? [],
  }
}

/** Where the body of the answer to `requestMethod` ends (RFC 9112 §6.3). 101 has none: what follows is not HTTP. */
export function frameResponse(requestMethod: string, head: StatusHead): ResponseFraming {
  const { status, version, headers } = head
  const fields = framingFields(headers)
  const declared = declaredBody(fields, version)
  if (typeof declared === 'string') return { kind: 'bad', code: declared }
  const open = staysOpen(version, fields.connection)
  if (status < 200 || status === 204) {
    // Transfer-Encoding is forbidden here (RFC 9112 §6.1). Origins that send it may send a last chunk as well: not reused.
    return { kind: 'ok', body: NO_BODY, keepAlive: open && declared?.kind !== 'chunked' }
  }
  if (requestMethod === 'HEAD' || status === 304) return { kind: 'ok', body: NO_BODY, keepAlive: open }
  if (declared === null) return { kind: 'ok', body: UNTIL_CLOSE, keepAlive: false }
  return { kind: 'ok', body: declared, keepAlive: open }
}

function malformed(code: string): RequestFraming {
  return { kind: 'refused', reason: 'malformed', code }
}

/** Of the fields that frame a message: how many there are and the first one's value, or the members of them all; null: none. */
interface FramingFields {
  hosts: number
  host: string
  codings: number
  coding: string
  lengths: number
  length: string
  connection: string[] | null
  expect: string[] | null
  upgrade: string[] | null
}

/** One pass over the head; a pass for each name took three times as long. */
function framingFields(headers: RawHeaders): FramingFields {
  const fields: FramingFields = {
    hosts: 0,
    host: '',
    codings: 0,
    coding: '',
    lengths: 0,
    length: '',
    connection: null,
    expect: null,
    upgrade: null,
  }
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const role = roleOf(headers[i] as string)
    if (role === 0) continue
    const value = headers[i + 1] as string
    if ((role & HOST) !== 0 && fields.hosts++ === 0) fields.host = value
    if ((role & TRANSFER_ENCODING) !== 0 && fields.codings++ === 0) fields.coding = value
    if ((role & CONTENT_LENGTH) !== 0 && fields.lengths++ === 0) fields.length = value
    if ((role & CONNECTION) !== 0) fields.connection = withMembers(fields.connection, value)
    if ((role & EXPECT) !== 0) fields.expect = withMembers(fields.expect, value)
    if ((role & UPGRADE) !== 0) fields.upgrade = withMembers(fields.upgrade, value)
  }
  return fields
}

/**
 * The body that the head declares; null where it declares none; or the code of what is wrong.
 * SECURITY: RFC 9112 §6.3 lets a recipient repair some of these. Every repair is a second reading, so none is repaired:
 * one field, one value, one coding.
 */
function declaredBody(fields: FramingFields, version: '1.0' | '1.1'): BodyFraming | string | null {
  const { codings, coding, lengths, length } = fields
  if (codings > 0) {
    if (lengths > 0) return 'LENGTH_WITH_TRANSFER_ENCODING'
    if (codings > 1) return 'DUPLICATE_TRANSFER_ENCODING'
    if (version === '1.0') return 'TRANSFER_ENCODING_ON_HTTP_10'
    return coding.toLowerCase() === 'chunked' ? CHUNKED : 'BAD_TRANSFER_ENCODING'
  }
  if (lengths === 0) return null
  if (lengths > 1) return 'DUPLICATE_CONTENT_LENGTH'
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
function staysOpen(version: '1.0' | '1.1', connection: readonly string[] | null): boolean {
  if (connection?.includes('close') === true) return false
  return version === '1.1' || connection?.includes('keep-alive') === true
}

/** `members` and those of one field more: a comma list taken apart (RFC 9110 §5.6.1), in lower case, empty ones left out. */
function withMembers(members: string[] | null, value: string): string[] {
  const all = members ?? []
  // What nearly every request says of its connection, and nothing else.
  if (value === 'keep-alive') {
    all.push(value)
    return all
  }
  for (const member of value.split(',')) {
    const token = trimOws(member, 0, member.length)
    if (token !== '') all.push(token.toLowerCase())
  }
  return all
}

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

function without(headers: RawHeaders, dropped: number): string[] {
  const kept: string[] = []
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string
    const value = headers[i + 1] as string
    const role = roleOf(name)
    // Keep-Alive, which nearly every Connection names, is dropped in any case.
    if ((role & CONNECTION) !== 0 && value !== 'keep-alive') return withoutNominated(headers, dropped)
    if ((role & dropped) === 0) kept.push(name, (role & CONTENT_LENGTH) === 0 ? value : decimalLength(value))
  }
  return kept
}

/** The same less the fields that Connection names. */
function withoutNominated(headers: RawHeaders, dropped: number): string[] {
  const nominated = new Set(framingFields(headers).connection?.filter((name) => !NEVER_NOMINATED.has(name)))
  const kept: string[] = []
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string
    const value = headers[i + 1] as string
    const role = roleOf(name)
    if ((role & dropped) !== 0 || nominated.has(name.toLowerCase())) continue
    kept.push(name, (role & CONTENT_LENGTH) === 0 ? value : decimalLength(value))
  }
  return kept
}

/** SECURITY: `010` is ten (RFC 9110 §8.6), but eight for whoever parses by prefix: what we framed by goes on in the one spelling that has one reading. */
function decimalLength(value: string): string {
  return value.startsWith('0') && isLength(value) ? String(Number(value)) : value
}

/** SECURITY: NTLM and Negotiate authenticate the connection, not the request; nobody else's request may ride on it. */
export function authenticatesConnection(headers: RawHeaders): boolean {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if ((roleOf(headers[i] as string) & AUTHENTICATION) === 0) continue
    if (/^(?:ntlm|negotiate)\b/i.test(headers[i + 1] as string)) return true
  }
  return false
}
