// The request, top to bottom: judged, written down, sent, relayed, ended.

import { endToEndInterimHeaders } from '../core/framing.ts'
import { GRPC_STATUS_OF, isGrpc } from '../core/grpc.ts'
import { serializeHead } from '../core/http1.ts'
import { judge, type Proceed, type Refused, refused } from './judge.ts'
import { grpcRefusal, refusalAnswer } from './answer.ts'
import { Attempt } from './attempt.ts'
import type { Connection } from './connection.ts'
import type { Deps } from './deps.ts'
import { injectBody } from './inject.ts'
import { recordMalformed } from './malformed.ts'
import type { ClientLink, IncomingRequest, MalformedInput, ResponseSink } from './message.ts'
import { relay } from './relay.ts'
import { RequestUnderway } from './revocation.ts'
import type { Visit } from './serving.ts'
import type { Sending } from './upstream.ts'
import { serveWebSocket } from './websocket.ts'

/** Resolves when the sink was ended or aborted and the end of the attempt was handed to the trail. Never rejects. */
export async function exchange(
  connection: Connection,
  incoming: IncomingRequest,
  deps: Deps,
  visit: Visit,
): Promise<void> {
  visit.served = true
  const attempt = new Attempt(connection, incoming.protocol, deps)
  attempt.headers = incoming.head.headers
  attempt.grpc = incoming.protocol === 'h2' && isGrpc(incoming.head.headers)
  const { sink } = incoming
  try {
    const judging = judge(connection, incoming, attempt, deps)
    const judged = judging instanceof Promise ? await judging : judging
    if (judged.kind === 'refused') {
      if (judged.reason === 'client_aborted') return await leave(attempt, incoming)
      await refuse(attempt, sink, judged)
      recordAmbiguity(attempt, incoming, deps)
      return
    }
    await proceed(attempt, incoming, judged, deps)
    const { scheme, host, port } = judged.permit
    visit.route = { asker: judged.asker, scheme, host, port }
  } finally {
    if (!sink.started) sink.abort()
    attempt.complete()
  }
}

/** A head that can be read and has no one meaning (two lengths, a coding and a length): the code tells an attack from a slip. */
function recordAmbiguity(attempt: Attempt, { head, framing }: IncomingRequest, deps: Deps): void {
  if (framing.kind !== 'refused' || framing.reason !== 'malformed') return
  const bytes = serializeHead(`${head.method} ${head.target} HTTP/${head.version}`, head.headers)
  recordMalformed(attempt, { reason: framing.reason, code: framing.code, bytes }, deps)
}

async function proceed(attempt: Attempt, incoming: IncomingRequest, judged: Proceed, deps: Deps): Promise<void> {
  const { sink, link } = incoming
  const underway = new RequestUnderway(attempt, judged, link)
  deps.live.add(underway, attempt.judgement)
  try {
    // SECURITY: the record is the permission to proceed. No record, no upstream byte.
    if (!(await attempt.decide(judged.decision))) return answer(attempt, sink, unrecorded())
    if (link.gone) return abandon(attempt, sink, link)
    await forward(attempt, incoming, judged, deps)
  } finally {
    deps.live.remove(underway)
  }
}

async function forward(attempt: Attempt, incoming: IncomingRequest, judged: Proceed, deps: Deps): Promise<void> {
  const { sink, link, head } = incoming
  const { permit, handshake } = judged
  // A stream of calls is open for hours, with nothing to say for most of them; its client sets the deadline (`grpc-timeout`).
  if (attempt.grpc) incoming.body?.mayPause?.()
  const { injections } = attempt.judgement
  const recorded = { headers: head.headers, body: attempt.recordRequestBody(judged.body) }
  // SECURITY: secrets come in behind everything that judges, scans and records.
  const outgoing = injections === null ? recorded : await injectBody(injections, permit, recorded, judged.asker.source)
  const sending: Sending = {
    headers: outgoing.headers,
    injections,
    body: outgoing.body,
    link,
    sent: attempt.sent,
    source: judged.asker.source,
    prefers: incoming.protocol === 'h2' ? 'h2' : 'http/1.1',
    onInformational: (status, headers) => sink.informational(status, endToEndInterimHeaders(headers)),
  }
  const result = await (handshake === null
    ? deps.upstream.send(permit, sending)
    : deps.upstream.upgrade(permit, handshake, sending))
  attempt.upstreamAddress = result.address
  attempt.timings = result.timings
  if (result.kind === 'switched') {
    const refusal = await serveWebSocket(attempt, incoming, judged, result, deps)
    return refusal === null ? undefined : failUpstream(attempt, sink, refusal.reason, refusal.hint)
  }
  // A plain client that closes in the middle of its body is still half there; there is nobody to answer all the same.
  const left = result.kind === 'failed' && result.reason === 'client_aborted'
  if (link.gone || left) return abandon(attempt, sink, link)
  if (result.kind === 'failed') return failUpstream(attempt, sink, result.reason, result.detail)
  const limit = attempt.judgement.mode === 'observe' ? null : permit.limits.responseBytes
  if (limit !== null && (result.length ?? 0) > limit) {
    result.cancel('the answer is over the limit')
    return failUpstream(attempt, sink, 'response_too_large', `the answer has ${result.length} bytes`)
  }
  await relay(result, incoming, limit, attempt)
}

/** The decision stays as it was written; what became of it is the outcome. */
function failUpstream(attempt: Attempt, sink: ResponseSink, reason: Refused['reason'], detail: string): void {
  attempt.broke(reason, 'failed')
  const rule = attempt.leak === null || reason !== 'denied_by_rule' ? null : `secret:${attempt.leak.name}`
  answer(attempt, sink, { ...refused(reason, detail), rule })
}

function abandon(attempt: Attempt, sink: ResponseSink, link: ClientLink): void {
  attempt.lost(link)
  sink.abort()
}

/** The client went away in the middle of a body that was waited for: nothing has left, and nobody is there to be answered. */
async function leave(attempt: Attempt, { sink, link }: IncomingRequest): Promise<void> {
  await attempt.decide({ decision: 'deny', enforced: true, rule: null, reason: 'client_aborted' })
  abandon(attempt, sink, link)
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
  const { facts, grpc } = attempt
  const reply = (grpc ? grpcRefusal : refusalAnswer)({
    ...judged,
    client: attempt.client.name,
    method: facts?.method ?? null,
    host: facts?.host ?? null,
    path: facts?.path ?? null,
    requestId: attempt.requestId,
  })
  attempt.reason = judged.reason
  attempt.status = reply.status
  if (grpc) attempt.grpcStatus = GRPC_STATUS_OF[judged.reason]
  const body = facts?.method === 'HEAD' ? null : reply.body
  sink.head(
    reply.status,
    reply.statusText,
    reply.headers,
    body === null ? { kind: 'none' } : { kind: 'length', length: body.length },
  )
  if (body !== null) sink.write(body)
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
