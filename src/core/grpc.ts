// gRPC over HTTP/2, as its protocol document has it: what a call is told by, and how a status is said and read.

import { Buffer } from 'node:buffer'
import { type RawHeaders, soleValue } from './http1.ts'
import type { Reason } from './refusal.ts'

/** Its own status codes; the position is the number. */
export const GRPC_STATUS_NAMES: readonly string[] = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
]

const CANCELLED = 1
const DEADLINE_EXCEEDED = 4
const PERMISSION_DENIED = 7
const RESOURCE_EXHAUSTED = 8
const INTERNAL = 13
const UNAVAILABLE = 14
const UNAUTHENTICATED = 16

/**
 * What each reason is to a gRPC client. 400 is INTERNAL, as gRPC itself maps it (http-grpc-status-mapping), and 417 and 421 with
 * it: the HTTP under the call is wrong, which INVALID_ARGUMENT would blame on its message. UNAVAILABLE is the one that clients
 * try again: for what may pass.
 */
export const GRPC_STATUS_OF: Readonly<Record<Reason, number>> = {
  malformed: INTERNAL,
  path_not_canonical: INTERNAL,
  host_not_canonical: INTERNAL,
  no_matching_rule: PERMISSION_DENIED,
  denied_by_rule: PERMISSION_DENIED,
  body_rule: PERMISSION_DENIED,
  address_denied: PERMISSION_DENIED,
  self: PERMISSION_DENIED,
  upgrade_denied: PERMISSION_DENIED,
  override_header: PERMISSION_DENIED,
  proxy_auth: UNAUTHENTICATED,
  client_timeout: DEADLINE_EXCEEDED,
  request_too_large: RESOURCE_EXHAUSTED,
  expectation: INTERNAL,
  identity_mismatch: INTERNAL,
  rate_limited: RESOURCE_EXHAUSTED,
  header_too_large: RESOURCE_EXHAUSTED,
  upstream_tls: UNAVAILABLE,
  upstream_unreachable: UNAVAILABLE,
  upstream_malformed: UNAVAILABLE,
  response_too_large: RESOURCE_EXHAUSTED,
  dns_failed: UNAVAILABLE,
  upstream_timeout: DEADLINE_EXCEEDED,
  audit_unavailable: UNAVAILABLE,
  shutting_down: UNAVAILABLE,
  overloaded: UNAVAILABLE,
  tls_rejected: UNAVAILABLE,
  client_aborted: CANCELLED,
  policy_revoked: PERMISSION_DENIED,
}

const GRPC = 'application/grpc'

/**
 * Whether a request over HTTP/2 is a gRPC call, by its content-type: with or without the encoding of its messages (`+proto`) and
 * parameters. gRPC-Web is not: its trailers are a part of its body.
 */
export function isGrpc(headers: RawHeaders): boolean {
  const contentType = soleValue(headers, 'content-type')
  if (contentType === null) return false
  if (contentType.slice(0, GRPC.length).toLowerCase() !== GRPC) return false
  const rest = contentType.slice(GRPC.length)
  return rest === '' || rest.startsWith('+') || (rest.split(';', 1)[0] as string).trimEnd() === ''
}

/** Of trailers, or of a head that is all there is; null where it is absent or no number that a status could be. */
export function grpcStatus(fields: RawHeaders): number | null {
  const value = soleValue(fields, 'grpc-status')
  return value !== null && /^[0-9]{1,3}$/.test(value) ? Number(value) : null
}

/** Clients take 8 KiB of fields by default; what the message says first is the reason. */
const MAX_MESSAGE_BYTES = 1_024

/** `grpc-message`: printable ASCII less `%` as it is, every other byte of the UTF-8 as `%XX`. Cut between characters. */
export function encodeGrpcMessage(message: string): string {
  let encoded = ''
  for (const character of message) {
    const plain = character >= ' ' && character <= '~' && character !== '%'
    const next = plain ? character : percentEncoded(character)
    if (encoded.length + next.length > MAX_MESSAGE_BYTES) break
    encoded += next
  }
  return encoded
}

function percentEncoded(character: string): string {
  return Buffer.from(character, 'utf8').toString('hex').toUpperCase().replaceAll(/../g, '%$&')
}
