// The answer of a refusal: what a program and a person can read, a JSON body or the status of a gRPC call, and the headers of RFC 9209.

import { STATUS_CODES } from 'node:http'
import { encodeGrpcMessage, GRPC_STATUS_OF } from '../core/grpc.ts'
import type { RawHeaders } from '../core/http1.ts'
import { REFUSALS, type Reason } from '../core/refusal.ts'

/** What the answer says; `path` is without its query, null where no request was read. */
export interface RefusalFacts {
  readonly reason: Reason
  readonly rule: string | null
  readonly client: string
  readonly method: string | null
  readonly host: string | null
  readonly path: string | null
  readonly requestId: string
  readonly hint: string
  readonly rate?: RateState
}

/** State of the bucket that refused. */
export interface RateState {
  readonly limit: number
  readonly remaining: number
  readonly resetMs: number
  readonly retryAfterMs: number
}

export interface Answer {
  readonly status: number
  readonly statusText: string
  readonly headers: RawHeaders
  /** Null: the head is all of it. */
  readonly body: Buffer | null
}

const seconds = (ms: number): string => String(Math.max(1, Math.ceil(ms / 1_000)))

export function refusalAnswer(facts: RefusalFacts): Answer {
  const refusal = REFUSALS[facts.reason]
  const status = refusal.status ?? 502
  const body = Buffer.from(
    `${JSON.stringify({
      error: status >= 500 ? 'egress_failed' : 'egress_denied',
      reason: facts.reason,
      rule: facts.rule,
      client: facts.client,
      method: facts.method,
      host: facts.host,
      path: facts.path,
      request_id: facts.requestId,
      hint: facts.hint,
      // The one member that API clients commonly show to whoever asked (octokit, google-api, openai): without it they make up a reason.
      message: messageOf(facts),
    })}\n`,
  )
  const headers = [
    ['Content-Type', 'application/json'],
    ['Content-Length', String(body.length)],
    ['Cache-Control', 'no-store'],
    ...commonHeaders(facts),
  ]
  if (status === 407) headers.push(['Proxy-Authenticate', 'Basic realm="mcp-egress"'])
  return { status, statusText: STATUS_CODES[status] ?? '', headers: headers.flat(), body }
}

/** The same for a gRPC call: its clients read neither another status than 200 nor a body that is no message of theirs. */
export function grpcRefusal(facts: RefusalFacts): Answer {
  const headers = [
    ['content-type', 'application/grpc'],
    ['grpc-status', String(GRPC_STATUS_OF[facts.reason])],
    ['grpc-message', encodeGrpcMessage(messageOf(facts))],
    ...commonHeaders(facts),
  ]
  // gRFC A6: a client that tries again by itself waits for so long.
  if (facts.rate !== undefined) headers.push(['grpc-retry-pushback-ms', String(Math.ceil(facts.rate.retryAfterMs))])
  return { status: 200, statusText: 'OK', headers: headers.flat(), body: null }
}

const messageOf = ({ reason, hint }: RefusalFacts): string => `mcp-egress: ${reason}: ${hint}`

function commonHeaders({ reason, requestId, rate }: RefusalFacts): string[][] {
  const headers = [
    ['X-Request-ID', requestId],
    ['Proxy-Status', `mcp-egress; error=${REFUSALS[reason].proxyError}; details="${reason}"`],
  ]
  if (rate !== undefined) {
    headers.push(
      ['Retry-After', seconds(rate.retryAfterMs)],
      ['X-RateLimit-Limit', String(rate.limit)],
      ['X-RateLimit-Remaining', String(rate.remaining)],
      ['X-RateLimit-Reset', seconds(rate.resetMs)],
    )
  }
  return headers
}
