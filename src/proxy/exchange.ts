// The request, top to bottom: judged, written down, sent, relayed, ended.

import { endToEndInterimHeaders } from '../core/framing.ts'
import type { Route } from '../core/revocation.ts'
import { judge, type Proceed, type Refused, refused } from './judge.ts'
import { refusalAnswer } from './answer.ts'
import { Attempt } from './attempt.ts'
import type { Connection } from './connection.ts'
import type { Deps } from './deps.ts'
import { recordMalformed } from './malformed.ts'
import type { ClientLink, IncomingRequest, MalformedInput, ResponseSink } from './message.ts'
import { relay } from './relay.ts'
import { watchRequest } from './revocation.ts'

/**
 * Resolves when the sink was ended or aborted and the end of the attempt was handed to the trail: to where the request was
 * permitted to go, null where it was not. Never rejects.
 */
export async function exchange(connection: Connection, incoming: IncomingRequest, deps: Deps): Promise<Route | null> {
  const attempt = new Attempt(connection, incoming.protocol, deps)
  attempt.headers = incoming.head.headers
  const { sink } = incoming
  try {
    const judged = await judge(connection, incoming, attempt, deps)
    if (judged.kind === 'refused') {
      await refuse(attempt, sink, judged)
      return null
    }
    await proceed(attempt, incoming, judged, deps)
    const { scheme, host, port } = judged.permit
    return { asker: judged.asker, scheme, host, port }
  } finally {
    if (!sink.started) sink.abort()
    attempt.complete()
  }
}

async function proceed(attempt: Attempt, incoming: IncomingRequest, judged: Proceed, deps: Deps): Promise<void> {
  const { sink, link } = incoming
  const unwatch = watchRequest(attempt, judged, link, deps)
  try {
    // SECURITY: the record is the permission to proceed. No record, no upstream byte.
    if (!(await attempt.decide(judged.decision))) return answer(attempt, sink, unrecorded())
    if (link.gone) return abandon(attempt, sink, link)
    await forward(attempt, incoming, judged, deps)
  } finally {
    unwatch()
  }
}

async function forward(attempt: Attempt, incoming: IncomingRequest, judged: Proceed, deps: Deps): Promise<void> {
  const { sink, link, head } = incoming
  const result = await deps.upstream.send(judged.permit, {
    headers: head.headers,
    body: attempt.recordRequestBody(judged.body),
    link,
    sent: attempt.sent,
    onInformational: (status, headers) => sink.informational(status, endToEndInterimHeaders(headers)),
  })
  attempt.upstreamAddress = result.address
  attempt.timings = result.timings
  if (link.gone) return abandon(attempt, sink, link)
  if (result.kind === 'failed') return failUpstream(attempt, sink, result.reason, result.detail)
  const limit = attempt.judgement.mode === 'observe' ? null : judged.permit.limits.responseBytes
  if (limit !== null && (result.length ?? 0) > limit) {
    return failUpstream(attempt, sink, 'response_too_large', `the answer has ${result.length} bytes`)
  }
  await relay(result, incoming, limit, attempt)
}

/** What was refused by us after the decision; everything else that goes wrong on the way is a failure. */
const OUTCOME_OF: ReadonlyMap<Refused['reason'], Attempt['outcome']> = new Map([
  ['address_denied', 'refused'],
  ['self', 'refused'],
  ['malformed', 'refused'],
  ['client_timeout', 'refused'],
  ['request_too_large', 'refused'],
  ['response_too_large', 'refused'],
  ['overloaded', 'refused'],
  ['client_aborted', 'client_aborted'],
])

/** The decision stays as it was written; what became of it is the outcome. */
function failUpstream(attempt: Attempt, sink: ResponseSink, reason: Refused['reason'], detail: string): void {
  attempt.outcome = OUTCOME_OF.get(reason) ?? 'failed'
  answer(attempt, sink, refused(reason, detail))
}

function abandon(attempt: Attempt, sink: ResponseSink, link: ClientLink): void {
  attempt.lost(link)
  sink.abort()
}

const unrecorded = (): Refused => refused('audit_unavailable', 'the audit trail can not be written; nothing was sent')

/** Records the denial, then answers it. */
export async function refuse(attempt: Attempt, sink: ResponseSink, judged: Refused): Promise<void> {
  attempt.outcome = 'refused'
  const { reason, rule } = judged
  const recorded = await attempt.decide({ decision: 'deny', enforced: true, rule, reason })
  answer(attempt, sink, recorded ? judged : unrecorded())
}

function answer(attempt: Attempt, sink: ResponseSink, judged: Refused): void {
  const { facts } = attempt
  const reply = refusalAnswer({
    ...judged,
    client: attempt.client.name,
    method: facts?.method ?? null,
    host: facts?.host ?? null,
    path: facts?.path ?? null,
    requestId: attempt.requestId,
  })
  attempt.reason = judged.reason
  attempt.status = reply.status
  const headless = facts?.method === 'HEAD'
  sink.head(
    reply.status,
    reply.statusText,
    reply.headers,
    headless ? { kind: 'none' } : { kind: 'length', length: reply.body.length },
  )
  if (!headless) sink.write(reply.body)
  sink.end([])
}

/** Bytes that are no request: one decision, one `request.malformed`, one end, and 400 or its like. */
export async function exchangeMalformed(
  connection: Connection,
  input: MalformedInput,
  sink: ResponseSink,
  link: ClientLink,
  deps: Deps,
): Promise<void> {
  const attempt = new Attempt(connection, 'unknown', deps)
  try {
    await refuse(attempt, sink, refused(input.reason, `the bytes are not a request: ${input.code}`))
    recordMalformed(attempt, input, deps)
    if (link.gone) attempt.outcome = 'client_aborted'
  } finally {
    attempt.complete()
  }
}
