// What is asked of an origin and what becomes of it, whichever version of HTTP it speaks; and the head of a request in HTTP/1.1.

import type { Socket } from 'node:net'
import { type RawHeaders, type StatusHead, serializeHeadText } from '../core/http1.ts'
import type { Reason } from '../core/refusal.ts'
import type { BodyReader } from './message.ts'

/**
 * A model that thinks for ten minutes before its first byte is normal; nothing at all for longer is a dead origin. Counted from
 * the last sign of life: an interim answer, or a part of the request that was taken.
 */
export const RESPONSE_HEAD_TIMEOUT_MS: number = 900_000
/** Interim answers before the final one; more is a flood. */
export const MAX_INFORMATIONAL: number = 32

/** What has gone out of one request's body, kept by whoever asked: the connection may already serve somebody else. */
export interface SentSoFar {
  bytes: number
  trailerNames: string[]
  /** `address:port` of the connection it went out on last. */
  address: string | null
}

export interface OriginRequest {
  readonly method: string
  readonly scheme: 'http' | 'https'
  /** For Host or `:authority`; the default port left out. */
  readonly authority: string
  /** Origin-form. */
  readonly target: string
  /** End-to-end fields only: neither Host nor what frames the body in this version of HTTP, but Content-Length. */
  readonly headers: RawHeaders
  /** Null: no body. `length` null: sent in chunks. */
  readonly body: { readonly reader: BodyReader; readonly length: number | null } | null
  readonly sent: SentSoFar
  /** Trailers of the body go along (gRPC); HTTP/1.1 drops them all the same. */
  readonly trailers: boolean
  /** The client understands trailers of the answer, and says so (`TE: trailers`). */
  readonly te: boolean
  readonly onInformational: (status: number, headers: RawHeaders) => void
}

export type OriginAnswer =
  | { readonly kind: 'response'; readonly head: StatusHead; readonly length: number | null; readonly body: BodyReader }
  | {
      readonly kind: 'failed'
      readonly reason: Reason
      readonly detail: string
      /** Nothing of an answer came: what is idempotent may be sent again. */
      readonly retryable: boolean
      /** It may be sent again whatever it is: the origin certainly did nothing with it (RFC 9113 §8.7), or wants it over HTTP/1.1. */
      readonly again?: 'unprocessed' | 'http1_required'
    }

/** The origin speaks another protocol from here on. */
export interface SwitchedOrigin {
  readonly kind: 'switched'
  readonly head: StatusHead
  /** Paused. */
  readonly socket: Socket
  /** What came behind the 101. */
  readonly rest: Buffer
  /** As in `Dialled`. */
  readonly cutOff: () => boolean
}

/** In latin1. `protocol`: what is offered to go on in, null without an offer. */
export function requestHead(request: OriginRequest, protocol: string | null): string {
  const { method, target, authority, headers, body } = request
  const start =
    protocol === null ? ['Host', authority] : ['Host', authority, 'Connection', 'Upgrade', 'Upgrade', protocol]
  const fields = start.concat(headers)
  if (body !== null && body.length === null) fields.push('Transfer-Encoding', 'chunked')
  return serializeHeadText(`${method} ${target} HTTP/1.1`, fields)
}
