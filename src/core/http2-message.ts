// HTTP/2 messages (RFC 9113 §8): decoded field blocks become the heads that HTTP/1.1 makes, and heads become field blocks.

import { parseAuthority } from './address.ts'
import { skip, TARGET, TOKEN, trimOws } from './field-line.ts'
import { type BodyFraming, frameRequest, frameResponse, type RequestFraming } from './framing.ts'
import type { RawHeaders, RequestHead, StatusHead } from './http1.ts'
import { appendRegularFields, regularFieldFault, takePseudoFields } from './http2-fields.ts'
import { reasonPhrase } from './reason-phrase.ts'

/**
 * `framing` is of kind ok, or refused for an expectation; its body is `length` where one is declared, `chunked` where only
 * the end of the stream will tell, `none` where that has come. Where `:authority` and Host differ, `head.target` is the
 * absolute URL, so that `readSubject` compares the two names as it does in HTTP/1.1.
 * `bad`: `method` and `path` as sent, if they were, for the record.
 */
export type Http2Request =
  | { readonly kind: 'request'; readonly head: RequestHead; readonly framing: RequestFraming }
  | {
      readonly kind: 'bad'
      readonly reason: 'malformed'
      readonly code: string
      readonly method: string | null
      readonly path: string | null
    }

/** `length`: the declared one; null where there is none, and for the statuses that have no body. */
export type Http2Response =
  | { readonly kind: 'response'; readonly head: StatusHead; readonly length: number | null }
  | { readonly kind: 'bad'; readonly code: string }

export type Http2Trailers =
  | { readonly kind: 'trailers'; readonly trailers: RawHeaders }
  | { readonly kind: 'bad'; readonly code: string }

/** `target`: origin-form or `*`. `trailers`: tell the origin that trailers are understood, as gRPC servers ask for. */
export interface Http2RequestParts {
  readonly method: string
  readonly scheme: 'http' | 'https'
  readonly authority: string
  readonly target: string
  readonly headers: RawHeaders
  readonly trailers: boolean
}

/** What a request asks for and of whom, as its pseudo-fields say. */
interface Control {
  readonly method: string
  readonly authority: string | null
  readonly path: string
}

/** What the regular fields say: Host apart, cookie crumbs as one field. */
interface Regular {
  readonly host: string | null
  readonly headers: string[]
}

const REQUEST_PSEUDO: ReadonlySet<string> = new Set([':method', ':scheme', ':authority', ':path', ':protocol'])
const RESPONSE_PSEUDO: ReadonlySet<string> = new Set([':status'])

const HTTPS_PORT = 443
/** As for HTTP/1.1. */
const MAX_METHOD_LENGTH = 64
/** Three digits, no sixth class: as for HTTP/1.1. */
const STATUS = /^[1-5][0-9][0-9]$/

/**
 * A request that came over TLS. `endStream`: there is no body, the fields were all (END_STREAM).
 * Not judged here: whether the name is canonical and the one that the connection was opened for.
 */
export function readHttp2Request(fields: RawHeaders, endStream: boolean): Http2Request {
  const pseudo = new Map<string, string>()
  const read = readRequest(fields, pseudo, endStream)
  if (typeof read !== 'string') return read
  const method = pseudo.get(':method') ?? null
  return { kind: 'bad', reason: 'malformed', code: read, method, path: pseudo.get(':path') ?? null }
}

/** The request, or the code of what is wrong with it. */
function readRequest(fields: RawHeaders, pseudo: Map<string, string>, endStream: boolean): Http2Request | string {
  const at = takePseudoFields(fields, REQUEST_PSEUDO, pseudo)
  if (typeof at === 'string') return at
  const regular = readRegular(fields, at)
  if (typeof regular === 'string') return regular
  const control = readControl(pseudo)
  if (typeof control === 'string') return control

  const { method } = control
  const names = readNames(control, regular.host)
  if (names === null) return 'MISSING_HOST'
  const { hostValue, target } = names
  const { headers } = regular
  const declared = frameRequest({ method, target, version: '1.1', headers: ['host', hostValue, ...headers] })
  const framing = declared.kind === 'ok' ? framedByStream(declared, method, endStream) : declared
  if (typeof framing === 'string') return framing
  if (framing.kind === 'refused' && framing.reason === 'malformed') return framing.code
  return { kind: 'request', head: { method, target, version: '1.1', headers }, framing }
}

function readControl(pseudo: ReadonlyMap<string, string>): Control | string {
  const method = pseudo.get(':method')
  const path = pseudo.get(':path')
  const authority = pseudo.get(':authority') ?? null
  // First: these two come without what other requests need, and are refused for what they are.
  if (method === 'CONNECT') return pseudo.has(':protocol') ? 'H2_EXTENDED_CONNECT' : 'H2_CONNECT'
  if (pseudo.has(':protocol')) return 'H2_PSEUDO_UNKNOWN'
  if (method === undefined || path === undefined || !pseudo.has(':scheme')) return 'H2_PSEUDO_MISSING'
  if (method === '' || method.length > MAX_METHOD_LENGTH || !isAll(method, TOKEN)) return 'BAD_METHOD'
  if (pseudo.get(':scheme') !== 'https') return 'H2_SCHEME'
  // SECURITY: RFC 9113 §8.3.1. An absolute URL would name a host a second time, and a space end an HTTP/1.1 request line.
  const asterisk = path === '*' && method === 'OPTIONS'
  if (!isAll(path, TARGET) || (!path.startsWith('/') && !asterisk)) return 'BAD_TARGET'
  if (authority !== null && !isAll(authority, TARGET)) return 'BAD_VALUE'
  return { method, authority, path }
}

function readRegular(fields: RawHeaders, from: number): Regular | string {
  const headers: string[] = []
  let host: string | null = null
  let cookieAt = -1
  for (let at = from; at < fields.length; at += 2) {
    const name = fields[at] as string
    const value = fields[at + 1] as string
    const fault = regularFieldFault(name, value)
    if (fault !== null) return fault
    if (trimOws(value, 0, value.length) !== value) return 'H2_VALUE_WHITESPACE'
    // RFC 9113 §8.2.2.
    if (name === 'te' && value.toLowerCase() !== 'trailers') return 'H2_TE'
    if (name === 'host') {
      if (host !== null) return 'DUPLICATE_HOST'
      host = value
      continue
    }
    if (name === 'cookie' && cookieAt >= 0) {
      // RFC 9113 §8.2.3: crumbs are one field. An empty one would leave whitespace at its end.
      if (value !== '') headers[cookieAt] += `; ${value}`
      continue
    }
    headers.push(name, value)
    if (name === 'cookie') cookieAt = headers.length - 1
  }
  return { host, headers }
}

/**
 * Whom the request is for; null where it does not say. Host alone is enough (RFC 9113 §8.3.1).
 * SECURITY: both are heard where they differ. Only a canonical authority makes a URL, or one with a slash in it would
 * become a part of the path; any other is left alone as the name, which `readSubject` refuses.
 */
function readNames({ authority, path }: Control, host: string | null): { hostValue: string; target: string } | null {
  if (authority === null) return host === null ? null : { hostValue: host, target: path }
  const alone = host === null || host === authority || parseAuthority(authority, HTTPS_PORT) === null
  if (alone) return { hostValue: authority, target: path }
  return { hostValue: host, target: `https://${authority}${path}` }
}

/** The framing as END_STREAM has it, or the code of what it contradicts. */
function framedByStream(
  declared: RequestFraming & { kind: 'ok' },
  method: string,
  endStream: boolean,
): RequestFraming | string {
  const { body } = declared
  // RFC 9113 §8.1.1.
  if (endStream && body.kind === 'length' && body.length > 0) return 'H2_LENGTH_WITHOUT_BODY'
  if (endStream) return body.kind === 'none' ? declared : { ...declared, body: NO_BODY }
  if (body.kind !== 'none') return declared
  // SECURITY: as in framing.ts.
  return method === 'HEAD' || method === 'TRACE' ? 'BODY_NOT_ALLOWED' : { ...declared, body: STREAMED }
}

const NO_BODY: BodyFraming = { kind: 'none' }
const STREAMED: BodyFraming = { kind: 'chunked' }

/** A final or an interim response; 101 is neither here (RFC 9113 §8.6). */
export function readHttp2Response(fields: RawHeaders): Http2Response {
  const pseudo = new Map<string, string>()
  const at = takePseudoFields(fields, RESPONSE_PSEUDO, pseudo)
  if (typeof at === 'string') return { kind: 'bad', code: at }
  const headers: string[] = []
  const fault = takeTrimmed(fields, at, headers)
  if (fault !== null) return { kind: 'bad', code: fault }
  const digits = pseudo.get(':status')
  if (digits === undefined) return { kind: 'bad', code: 'H2_PSEUDO_MISSING' }
  if (!STATUS.test(digits)) return { kind: 'bad', code: 'BAD_STATUS' }
  if (digits === '101') return { kind: 'bad', code: 'UNSOLICITED_101' }

  const status = Number(digits)
  const head: StatusHead = { status, statusText: reasonPhrase(status), version: '1.1', headers }
  // Whether it answers HEAD only the caller knows; what it declares is the same.
  const framing = frameResponse('GET', head)
  if (framing.kind === 'bad') return framing
  return { kind: 'response', head, length: framing.body.kind === 'length' ? framing.body.length : null }
}

/** SECURITY: as for chunked bodies; the connection-specific ones are no fields of HTTP/2 at all. */
const FORBIDDEN_TRAILERS: ReadonlySet<string> = new Set([
  'content-length',
  'host',
  'proxy-authorization',
  'proxy-authenticate',
  'te',
  'trailer',
  'expect',
])

/** The fields behind a body, of a request or a response (RFC 9113 §8.1). */
export function readHttp2Trailers(fields: RawHeaders): Http2Trailers {
  const trailers: string[] = []
  const fault = takeTrimmed(fields, 0, trailers)
  if (fault !== null) return { kind: 'bad', code: fault }
  const forbidden = trailers.some((name, index) => index % 2 === 0 && FORBIDDEN_TRAILERS.has(name))
  return forbidden ? { kind: 'bad', code: 'FORBIDDEN_TRAILER' } : { kind: 'trailers', trailers }
}

/**
 * Appends the regular fields from `from` on; answers the fault of the first that is none. Whitespace around values goes, as
 * it does in HTTP/1.1: RFC 9113 §8.2.1 forbids it, but so many origins send it that curl and Envoy had to let it be.
 */
function takeTrimmed(fields: RawHeaders, from: number, into: string[]): string | null {
  for (let at = from; at < fields.length; at += 2) {
    const name = fields[at] as string
    const value = fields[at + 1] as string
    const fault = regularFieldFault(name, value)
    if (fault !== null) return fault
    into.push(name, trimOws(value, 0, value.length))
  }
  return null
}

/** The field block of a request, to be compressed. Throws as `appendRegularFields` does. */
export function http2RequestFields(request: Http2RequestParts): string[] {
  const { method, scheme, authority, target, headers, trailers } = request
  const block = [':method', method, ':scheme', scheme, ':authority', authority, ':path', target]
  appendRegularFields(block, headers)
  if (trailers) block.push('te', 'trailers')
  return block
}

/** The field block of a final or an interim response, likewise. */
export function http2ResponseFields(status: number, headers: RawHeaders): string[] {
  const block = [':status', String(status)]
  appendRegularFields(block, headers)
  return block
}

function isAll(text: string, kind: number): boolean {
  return skip(text, 0, kind) === text.length
}
