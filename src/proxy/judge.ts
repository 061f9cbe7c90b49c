// Judges one request from head to permit: name, client, address, policy, body, limits. Sends nothing and writes nothing.

import { judgeAddress } from '../core/address-class.ts'
import { BODY_INSPECTION_LIMIT } from '../core/body.ts'
import { soleValue } from '../core/http1.ts'
import { identify, tokenClients } from '../core/identity.ts'
import { decide, judgeBody, limitDenied } from '../core/policy.ts'
import type { Reason } from '../core/refusal.ts'
import type { Denial, NeedsBody, Permit, Subject } from '../core/rule.ts'
import { readSubject } from '../core/subject.ts'
import type { RateState } from './answer.ts'
import type { Attempt, Decision } from './attempt.ts'
import { bufferedBody } from './body-queue.ts'
import type { Connection } from './connection.ts'
import type { Deps } from './deps.ts'
import type { BodyReader, IncomingRequest } from './message.ts'
import type { OutgoingBody } from './upstream.ts'

export interface Refused {
  readonly kind: 'refused'
  readonly reason: Reason
  readonly rule: string | null
  readonly hint: string
  readonly rate?: RateState
}

export interface Proceed {
  readonly kind: 'proceed'
  readonly permit: Permit
  readonly decision: Decision
  readonly body: OutgoingBody | null
}

export type Judged = Refused | Proceed

export const refused = (reason: Reason, hint: string): Refused => ({ kind: 'refused', reason, rule: null, hint })

/** Fills in the attempt's facts and client on the way, so that a refusal at any step is recorded with all that is known. */
export async function judge(
  connection: Connection,
  incoming: IncomingRequest,
  attempt: Attempt,
  deps: Deps,
): Promise<Judged> {
  const read = readSubject(connection.names, incoming.head, incoming.framing)
  attempt.facts = read.facts
  if (deps.draining()) return refused('shutting_down', 'try again in a moment')
  if (connection.refusal !== null) return refused(connection.refusal, 'this connection reached the proxy itself')
  if (read.kind === 'refused') return refused(read.reason, read.why)
  const identified = clientOf(connection, incoming, attempt)
  if (identified !== null) return identified
  const subject: Subject = { ...read.subject, client: attempt.client.name }
  const literal = judgeLiteral(subject, attempt, deps)
  if (literal !== null) return literal
  const verdict = decide(attempt.judgement.policy, subject)
  const declared =
    incoming.framing.kind === 'ok' && incoming.framing.body.kind === 'length' ? incoming.framing.body : null
  const body = incoming.body === null ? null : { reader: incoming.body, length: declared?.length ?? null }
  if (verdict.kind === 'denial' && missesCredentials(connection, subject, verdict.reason, attempt)) {
    return refused('proxy_auth', 'a client with proxy credentials may do this')
  }
  if (verdict.kind === 'denial') return carried(denied(verdict, body))
  if (verdict.kind === 'permit') return carried(limited(verdict.permit, body, attempt, deps))
  return carried(await inspected(verdict, subject, incoming, body, attempt, deps))
}

/** Unknown means no: an upgrade that policy allows but no tunnel here carries is refused, not served as something else. */
function carried(judged: Judged): Judged {
  if (judged.kind === 'refused' || judged.permit.upgrade === null) return judged
  return refused('upgrade_denied', `this version does not carry ${judged.permit.upgrade}`)
}

/** Proxy credentials on a request are the client's word for this request; on CONNECT they were the word for all inside it. */
function clientOf(connection: Connection, incoming: IncomingRequest, attempt: Attempt): Refused | null {
  if (connection.client !== null) return null
  const credentials = soleValue(incoming.head.headers, 'proxy-authorization')
  const found = identify(attempt.judgement.identity, { source: connection.source, credentials })
  if (found.kind === 'invalid') return refused('proxy_auth', 'the proxy credentials are not those of a client')
  attempt.client = { name: found.name, by: found.by }
  return null
}

/** 407 in place of a denial where a token client's rule would allow: only a proxy request can still bring credentials. */
function missesCredentials(connection: Connection, subject: Subject, reason: Reason, attempt: Attempt): boolean {
  if (connection.door !== 'absolute' || attempt.client.by === 'token' || reason !== 'no_matching_rule') return false
  const { policy, identity } = attempt.judgement
  return tokenClients(identity).some((client) => decide(policy, { ...subject, client }).kind !== 'denial')
}

/** Literals and our own listeners are judged before the decision (CONTRACT §2 "Addresses"). */
function judgeLiteral(subject: Subject, attempt: Attempt, deps: Deps): Refused | null {
  if (subject.host.kind === 'name') return null
  if (deps.isSelf(subject.host.text, subject.port)) return refused('self', 'the destination is this proxy')
  const judged = judgeAddress(attempt.judgement.addresses, subject.host.text)
  if (judged.allowed) return null
  return refused('address_denied', `${subject.host.text} is a ${judged.cls} address`)
}

function denied(denial: Denial, body: OutgoingBody | null): Judged {
  const { reason, rule, hint } = denial
  if (denial.observed === null) return { kind: 'refused', reason, rule, hint }
  return {
    kind: 'proceed',
    permit: denial.observed,
    decision: { decision: 'deny', enforced: false, rule, reason },
    body,
  }
}

function limited(permit: Permit, body: OutgoingBody | null, attempt: Attempt, deps: Deps): Judged {
  const { policy, mode } = attempt.judgement
  const limit = permit.limits.requestBytes
  if (limit !== null && (body?.length ?? 0) > limit)
    return denied(limitDenied('request_too_large', permit, policy), body)
  if (permit.rate !== null) {
    const taken = deps.limiter.take(`rule ${permit.rule} ${permit.client}`, permit.rate, deps.now())
    if (!taken.ok) {
      const judged = denied(limitDenied('rate_limited', permit, policy), body)
      return judged.kind === 'refused' ? { ...judged, rate: taken } : judged
    }
  }
  const allowed: Decision = { decision: 'allow', enforced: mode === 'enforce', rule: permit.rule, reason: null }
  const capped =
    body === null || limit === null || mode === 'observe' ? body : { ...body, reader: capBody(body.reader, limit) }
  return { kind: 'proceed', permit, decision: allowed, body: capped }
}

async function inspected(
  needs: NeedsBody,
  subject: Subject,
  incoming: IncomingRequest,
  body: OutgoingBody | null,
  attempt: Attempt,
  deps: Deps,
): Promise<Judged> {
  const read = body === null ? { bytes: Buffer.alloc(0), complete: true, rest: null } : await readWhole(body.reader)
  if ('failed' in read) return refused(read.failed, read.detail)
  const headers = incoming.head.headers
  const verdict = judgeBody(attempt.judgement.policy, subject, needs, {
    bytes: read.bytes,
    complete: read.complete,
    contentType: soleValue(headers, 'content-type'),
    contentEncoding: soleValue(headers, 'content-encoding'),
  })
  const replay = body === null ? null : { reader: chain(read.bytes, read.rest), length: body.length }
  if (verdict.kind === 'denial') return denied(verdict, replay)
  return limited(verdict.permit, replay, attempt, deps)
}

interface Whole {
  readonly bytes: Buffer
  readonly complete: boolean
  /** What follows the inspected bytes, null when there is nothing. */
  readonly rest: BodyReader | null
}

/** At most the inspection limit and one part more is held; nothing of it has been sent anywhere. */
async function readWhole(reader: BodyReader): Promise<Whole | { readonly failed: Reason; readonly detail: string }> {
  const parts: Buffer[] = []
  let size = 0
  for (;;) {
    const part = await reader.read()
    if (part.kind === 'failed') return { failed: part.reason, detail: part.detail }
    if (part.kind === 'end') return { bytes: Buffer.concat(parts), complete: true, rest: null }
    parts.push(part.data)
    size += part.data.length
    if (size > BODY_INSPECTION_LIMIT) return { bytes: Buffer.concat(parts), complete: false, rest: reader }
  }
}

function chain(bytes: Buffer, rest: BodyReader | null): BodyReader {
  const first = bufferedBody(bytes)
  if (rest === null) return first
  let replayed = false
  return {
    read: async () => {
      if (replayed) return rest.read()
      replayed = true
      return bytes.length === 0 ? rest.read() : { kind: 'data', data: bytes }
    },
  }
}

/** A body without a declared length is cut at the limit while it streams. */
function capBody(reader: BodyReader, limit: number): BodyReader {
  let total = 0
  return {
    read: async () => {
      const part = await reader.read()
      if (part.kind !== 'data') return part
      total += part.data.length
      if (total <= limit) return part
      return { kind: 'failed', reason: 'request_too_large', detail: `the body is over ${limit} bytes` }
    },
  }
}
