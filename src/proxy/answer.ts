// The answer of a refusal: a body that a program and a person can read, and the headers of RFC 9209.

import { STATUS_CODES } from 'node:http'
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
  readonly body: Buffer
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
      message: `mcp-egress: ${facts.reason}: ${facts.hint}`,
    })}\n`,
  )
  const headers = [
    ['Content-Type', 'application/json'],
    ['Content-Length', String(body.length)],
    ['Cache-Control', 'no-store'],
    ['X-Request-ID', facts.requestId],
    ['Proxy-Status', `mcp-egress; error=${refusal.proxyError}; details="${facts.reason}"`],
  ]
  if (status === 407) headers.push(['Proxy-Authenticate', 'Basic realm="mcp-egress"'])
  if (facts.rate !== undefined) {
    headers.push(
      ['Retry-After', seconds(facts.rate.retryAfterMs)],
      ['X-RateLimit-Limit', String(facts.rate.limit)],
      ['X-RateLimit-Remaining', String(facts.rate.remaining)],
      ['X-RateLimit-Reset', seconds(facts.rate.resetMs)],
    )
  }
  return { status, statusText: STATUS_CODES[status] ?? '', headers: headers.flat(), body }
}
