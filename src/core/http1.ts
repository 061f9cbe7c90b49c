// Reads and writes HTTP/1.1 heads: bytes in, one of head, more or bad out, for hostile clients and hostile origins alike.

import { Buffer } from 'node:buffer'
import {
  CR,
  endOfLine,
  type FieldFault,
  lineFault,
  SP,
  scanFieldLine,
  scanPlainFieldLine,
  skip,
  TARGET,
  TOKEN,
  VALUE,
} from './field-line.ts'

/** Flat raw list: name, value, name, value… latin1 strings exactly as on the wire, whitespace around values trimmed. */
export type RawHeaders = readonly string[]

export interface RequestHead {
  readonly method: string
  readonly target: string
  readonly version: '1.0' | '1.1'
  readonly headers: RawHeaders
}

export interface StatusHead {
  readonly status: number
  readonly statusText: string
  readonly version: '1.0' | '1.1'
  readonly headers: RawHeaders
}

/** `maxHeadBytes` counts the start line, the fields and the empty line; `maxHeaderCount` counts field lines. */
export interface HeadLimits {
  readonly maxHeadBytes: number
  readonly maxHeaderCount: number
}

/**
 * 64 KiB as Node and most origins at their widest. 200 fields are twice what Apache and Envoy accept by default, and far
 * below the ~1000 past which a Node origin obeys headers that it no longer shows.
 */
export const HEAD_LIMITS: HeadLimits = { maxHeadBytes: 64 * 1024, maxHeaderCount: 200 }

type HeadFault =
  | FieldFault
  | 'BAD_METHOD'
  | 'BAD_TARGET'
  | 'BAD_VERSION'
  | 'HTTP_09'
  | 'BAD_STATUS'
  | 'BAD_REASON'
  | 'HEAD_TOO_LARGE'
  | 'TOO_MANY_HEADERS'

type Stop = 'MORE' | HeadFault

/** `more`: valid so far, call again with more bytes appended. `head`: `bytes` are consumed, the empty line included. */
export type HeadResult<H> =
  | { readonly kind: 'more' }
  | { readonly kind: 'bad'; readonly reason: 'malformed' | 'header_too_large'; readonly code: HeadFault }
  | Head<H>

interface Head<H> {
  readonly kind: 'head'
  readonly head: H
  readonly bytes: number
}

/** The longest registered method has 17 characters. */
const MAX_METHOD_LENGTH = 64

const EMPTY_LINE = Buffer.from('\r\n\r\n', 'latin1')
/** Up to this many bytes, reading them all as text costs less than looking for the end of the head first. */
const SHORT_BYTES = 2048

/** Reads a request head from the start of `buffer` (RFC 9112 §3); one empty line before it is tolerated (§2.2). */
export function parseRequestHead(buffer: Buffer, limits: HeadLimits = HEAD_LIMITS): HeadResult<RequestHead> {
  const text = headText(buffer, limits)
  return settled(scanRequestHead(buffer, text, limits.maxHeaderCount), text, limits)
}

/** Reads a response head (RFC 9112 §4). The reason phrase may be empty, and the space before it may be missing. */
export function parseStatusHead(buffer: Buffer, limits: HeadLimits = HEAD_LIMITS): HeadResult<StatusHead> {
  const text = headText(buffer, limits)
  return settled(scanStatusHead(buffer, text, limits.maxHeaderCount), text, limits)
}

/**
 * All the bytes that can belong to the head, as one string; what follows the head is never looked at. An unfinished head is read again from its start at every call, at
 * about a nanosecond a byte: dripped in single bytes up to the limit it costs a few times what its packets cost. In return
 * nothing is kept between calls, and bytes that can not become a head are refused at the first wrong one.
 */
function headText(buffer: Buffer, limits: HeadLimits): string {
  if (buffer.length <= SHORT_BYTES) return buffer.toString('latin1', 0, Math.min(buffer.length, limits.maxHeadBytes))
  const end = buffer.indexOf(EMPTY_LINE)
  const length = end === -1 ? buffer.length : end + EMPTY_LINE.length
  return buffer.toString('latin1', 0, Math.min(length, limits.maxHeadBytes))
}

function settled<H>(scanned: Head<H> | Stop, text: string, limits: HeadLimits): HeadResult<H> {
  if (typeof scanned !== 'string') return scanned
  if (scanned === 'TOO_MANY_HEADERS') return { kind: 'bad', reason: 'header_too_large', code: scanned }
  if (scanned !== 'MORE') return { kind: 'bad', reason: 'malformed', code: scanned }
  if (text.length < limits.maxHeadBytes) return { kind: 'more' }
  return { kind: 'bad', reason: 'header_too_large', code: 'HEAD_TOO_LARGE' }
}

function scanRequestHead(bytes: Buffer, text: string, maxHeaderCount: number): Head<RequestHead> | Stop {
  if (text === '\r') return 'MORE'
  const start = text.startsWith('\r\n') ? 2 : 0
  const methodEnd = skip(text, start, TOKEN)
  if (methodEnd - start > MAX_METHOD_LENGTH) return 'BAD_METHOD'
  if (methodEnd === text.length) return 'MORE'
  if (methodEnd === start || text.charCodeAt(methodEnd) !== SP) return lineFault(text, methodEnd, 'BAD_METHOD')

  const targetAt = methodEnd + 1
  const targetEnd = skip(text, targetAt, TARGET)
  if (targetEnd === text.length) return 'MORE'
  if (text.charCodeAt(targetEnd) === CR) return 'HTTP_09'
  if (targetEnd === targetAt || text.charCodeAt(targetEnd) !== SP) return lineFault(text, targetEnd, 'BAD_TARGET')

  const versionAt = targetEnd + 1
  const version = scanVersion(text, versionAt, '\r\n')
  if (version !== '1.1' && version !== '1.0') return version
  const headers: string[] = []
  const end = scanFields(bytes, text, versionAt + 'HTTP/1.1\r\n'.length, headers, maxHeaderCount)
  if (typeof end === 'string') return end
  const method = text.slice(start, methodEnd)
  return { kind: 'head', head: { method, target: text.slice(targetAt, targetEnd), version, headers }, bytes: end }
}

function scanStatusHead(bytes: Buffer, text: string, maxHeaderCount: number): Head<StatusHead> | Stop {
  const version = scanVersion(text, 0, ' ')
  if (version !== '1.1' && version !== '1.0') return version
  const statusAt = 'HTTP/1.1 '.length
  const statusEnd = statusAt + 3
  const digits = text.slice(statusAt, statusEnd)
  if (!isStatusPrefix(digits)) return 'BAD_STATUS'
  if (text.length <= statusEnd) return 'MORE'
  const spaced = text.charCodeAt(statusEnd) === SP
  if (!spaced && text.charCodeAt(statusEnd) !== CR) return lineFault(text, statusEnd, 'BAD_STATUS')

  const reasonAt = spaced ? statusEnd + 1 : statusEnd
  const fieldsAt = endOfLine(text, skip(text, reasonAt, VALUE), 'BAD_REASON')
  if (typeof fieldsAt === 'string') return fieldsAt
  const headers: string[] = []
  const end = scanFields(bytes, text, fieldsAt, headers, maxHeaderCount)
  if (typeof end === 'string') return end
  const statusText = text.slice(reasonAt, fieldsAt - 2)
  return { kind: 'head', head: { status: Number(digits), statusText, version, headers }, bytes: end }
}

function scanVersion(text: string, at: number, after: '\r\n' | ' '): '1.0' | '1.1' | Stop {
  if (text.startsWith('HTTP/1.1', at) && text.startsWith(after, at + 'HTTP/1.1'.length)) return '1.1'
  const name = text.slice(at, at + 'HTTP/1.1'.length)
  if (!'HTTP/1.1'.startsWith(name) && !'HTTP/1.0'.startsWith(name)) return 'BAD_VERSION'
  if (name.length < 'HTTP/1.1'.length) return 'MORE'
  const end = text.slice(at + name.length, at + name.length + after.length)
  if (end === after) return '1.0'
  return after.startsWith(end) ? 'MORE' : lineFault(text, at + name.length, 'BAD_VERSION')
}

function isStatusPrefix(digits: string): boolean {
  for (let i = 0; i < digits.length; i++) {
    const digit = digits.charCodeAt(i) - 0x30
    if (digit < (i === 0 ? 1 : 0) || digit > (i === 0 ? 5 : 9)) return false
  }
  return true
}

function scanFields(bytes: Buffer, text: string, from: number, headers: string[], maxCount: number): number | Stop {
  let at = from
  while (at < text.length && bytes[at] !== CR) {
    if (headers.length === maxCount * 2) return 'TOO_MANY_HEADERS'
    const plain = scanPlainFieldLine(bytes, text, at, headers)
    const next = plain === -1 ? scanFieldLine(text, at, headers) : plain
    if (typeof next === 'string') return next
    at = next
  }
  return endOfLine(text, at, 'BARE_CR')
}

/**
 * The bytes of a head. Throws on CR, LF, NUL or a character above 0xff in any part: that is a bug of ours.
 * SECURITY: second line against header injection and request splitting; the first is that nothing parsed contains them.
 */
export function serializeHead(startLine: string, headers: RawHeaders): Buffer {
  return Buffer.from(serializeHeadText(startLine, headers), 'latin1')
}

/** The same as a latin1 string, for a socket that takes strings. Throws likewise. */
export function serializeHeadText(startLine: string, headers: RawHeaders): string {
  let text = `${startLine}\r\n`
  for (let i = 0; i < headers.length; i += 2) text = text + headers[i] + ': ' + headers[i + 1] + '\r\n'
  text += '\r\n'

  // Searches for one character run at the speed of memory; a loop over the characters took half of the time of a head.
  if (text.includes('\0') || BEYOND_LATIN1.test(text))
    throw new Error('a head to be sent contains a NUL or a non-latin1 character')
  // We wrote one CR and one LF a line; any other one came with a part.
  const lines = headers.length / 2 + 2
  if (!occurs(text, '\r', lines) || !occurs(text, '\n', lines))
    throw new Error('a head to be sent contains a CR or LF of its own, or half a field')
  return text
}

/** Answered without a look at the characters where the engine keeps them as latin1. */
const BEYOND_LATIN1 = /[^\0-\xff]/

/** Whether `character` occurs exactly `times` in `text`. */
function occurs(text: string, character: string, times: number): boolean {
  let left = times
  for (let at = text.indexOf(character); at >= 0 && left >= 0; at = text.indexOf(character, at + 1)) left--
  return left === 0
}

/** The first value of the field, or null. `lowerName` is in lower case. */
export function headerValue(headers: RawHeaders, lowerName: string): string | null {
  for (let i = 0; i < headers.length; i += 2) {
    if (isNamed(headers[i], lowerName)) return headers[i + 1] ?? null
  }
  return null
}

/**
 * The value of a field that may be there once; null where it is absent. SECURITY: where it is there more often, '', which
 * nobody accepts: we would judge by one of the values and the destination read another.
 */
export function soleValue(headers: RawHeaders, lowerName: string): string | null {
  let sole: string | null = null
  for (let i = 0; i < headers.length; i += 2) {
    const value = headers[i + 1]
    if (value === undefined || !isNamed(headers[i], lowerName)) continue
    if (sole !== null) return ''
    sole = value
  }
  return sole
}

/** Every value of the field, in order. `lowerName` is in lower case. */
export function headerValues(headers: RawHeaders, lowerName: string): string[] {
  const values: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    const value = headers[i + 1]
    if (value !== undefined && isNamed(headers[i], lowerName)) values.push(value)
  }
  return values
}

function isNamed(name: string | undefined, lowerName: string): boolean {
  return name?.length === lowerName.length && (name === lowerName || name.toLowerCase() === lowerName)
}
