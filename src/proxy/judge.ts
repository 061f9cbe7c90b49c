// Judges one request from head to permit: name, client, address, policy, body, limits. Sends nothing and writes nothing.

import { judgeAddress } from '../core/address-class.ts'
import { soleValue } from '../core/http1.ts'
import { identify, tokenClients } from '../core/identity.ts'
import { decide, judgeBody, limitDenied } from '../core/policy.ts'
import type { Reason } from '../core/refusal.ts'
import type { Denial, NeedsBody, Permit, Subject, Verdict } from '../core/rule.ts'
import type { Asker } from '../core/revocation.ts'
import { readSubject } from '../core/subject.ts'
import { type Handshake, readHandshake } from '../core/websocket.ts'
import type { RateState } from './answer.ts'
import type { Attempt, Decision } from './attempt.ts'
import type { Connection } from './connection.ts'
import type { Deps } from './deps.ts'
import { capBody, chain, type Inspected, readWhole } from './inspected-body.ts'
import type { IncomingRequest } from './message.ts'
import type { OutgoingBody } from './upstream.ts'

const EMPTY = Buffer.alloc(0)

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
  /** What was judged, and by what it would be judged again. */
  readonly subject: Subject
  readonly asker: Asker
  /** What of a WebSocket is asked for, null: no upgrade. */
  readonly handshake: Handshake | null
}

export type Judged = Refused | Proceed
type Ruled = Refused | Pick<Proceed, 'kind' | 'permit' | 'decision' | 'body'>

/** One request and what it is judged with. */
interface Case {
  readonly connection: Connection
  readonly incoming: IncomingRequest
  readonly attempt: Attempt
  readonly deps: Deps
  readonly asker: Asker
  readonly body: OutgoingBody | null
}

type Unidentified = Omit<Subject, 'client'>

interface Ruling {
  readonly kind: 'ruling'
  readonly verdict: Verdict
  readonly subject: Subject
}

export const refused = (reason: Reason, hint: string): Refused => ({ kind: 'refused', reason, rule: null, hint })

/**
 * Fills in the attempt's facts and client on the way, so that a refusal at any step is recorded with all that is known. A promise
 * only where the body is part of the question.
 */
export function judge(
  connection: Connection,
  incoming: IncomingRequest,
  attempt: Attempt,
  deps: Deps,
): Judged | Promise<Judged> {
  const read = readSubject(connection.names, incoming.head, incoming.framing)
  attempt.facts = read.facts
  if (deps.draining()) return refused('shutting_down', 'try again in a moment')
  if (connection.refusal !== null) return refused(connection.refusal, 'this connection reached the proxy itself')
  if (read.kind === 'refused') return refused(read.reason, read.why)
  const asker = askerOf(connection, incoming)
  const about: Case = { connection, incoming, attempt, deps, asker, body: bodyOf(incoming) }
  const ruling = ruleBefore(read.subject, about)
  if (ruling.kind === 'refused') return ruling
  return ruling.verdict.kind === 'needs-body'
    ? judgeWithBody(read.subject, ruling, about)
    : concluded(ruling, null, about)
}

async function judgeWithBody(read: Unidentified, first: Ruling, about: Case): Promise<Judged> {
  const { attempt, deps } = about
  // A body that is being read is waited for in any case: it has to be sent from its beginning.
  const reading = readWhole(about.body, soleValue(about.incoming.head.headers, 'content-encoding'))
  let ruling = first
  for (;;) {
    const whole = await unlessReloaded(reading, attempt, deps)
    if (whole === 'reloaded') {
      const again = ruleBefore(read, about)
      if (again.kind === 'refused') return again
      ruling = again
    } else {
      return whole.kind === 'failed' ? refused(whole.reason, whole.detail) : concluded(ruling, whole, about)
    }
  }
}

/** What the policy in force says before it has seen a body. */
function ruleBefore(read: Unidentified, { connection, attempt, deps, asker }: Case): Refused | Ruling {
  // SECURITY: what decides is the policy in force now; another may have come while the body was awaited.
  attempt.judgement = deps.judgement()
  const identified = identifyAsker(asker, attempt)
  if (identified !== null) return identified
  const subject = subjectOf(read, attempt.client.name)
  const literal = judgeLiteral(subject, attempt, deps)
  if (literal !== null) return literal
  const verdict = decide(attempt.judgement.policy, subject)
  if (verdict.kind === 'denial' && missesCredentials(connection, subject, verdict.reason, attempt)) {
    return refused('proxy_auth', 'a client with proxy credentials may do this')
  }
  if (verdict.kind === 'denial' && verdict.observed === null) return refusedBy(verdict)
  return { kind: 'ruling', verdict, subject }
}

/** Written out: a spread costs ten times as much. */
function subjectOf(read: Unidentified, client: string): Subject {
  const { scheme, method, host, port, path, encodedSlash, target, upgrade, overrideHeaders } = read
  return { client, scheme, method, host, port, path, encodedSlash, target, upgrade, overrideHeaders }
}

function bodyOf({ framing, body }: IncomingRequest): OutgoingBody | null {
  if (body === null) return null
  const declared = framing.kind === 'ok' && framing.body.kind === 'length' ? framing.body.length : null
  return { reader: body, length: declared }
}

/** Unknown means no: an upgrade that policy allows but no tunnel here carries is refused, not served as something else. */
function concluded(ruling: Ruling, whole: Inspected | null, about: Case): Judged {
  const ruled = ruledBy(ruling, whole, about)
  if (ruled.kind === 'refused') return ruled
  const { permit, decision, body } = ruled
  const { subject } = ruling
  const { asker } = about
  const { upgrade } = permit
  if (upgrade === null) return { kind: 'proceed', permit, decision, body, subject, asker, handshake: null }
  const { head, framing } = about.incoming
  if (upgrade !== 'websocket' || framing.kind !== 'ok' || framing.upgrade.length > 1) {
    return refused('upgrade_denied', `of the upgrades only websocket is carried, and nothing beside it: ${upgrade}`)
  }
  const read = readHandshake(head, framing)
  if (read.kind === 'bad') return refused('malformed', `this is no WebSocket handshake: ${read.code}`)
  return { kind: 'proceed', permit, decision, body, subject, asker, handshake: read.handshake }
}

/** Proxy credentials on a request are the client's word for this request; on CONNECT they were the word for all inside it. */
function askerOf(connection: Connection, { head }: IncomingRequest): Asker {
  if (connection.client !== null) return connection
  return { source: connection.source, credentials: soleValue(head.headers, 'proxy-authorization') }
}

/** SECURITY: also inside a CONNECT: its client may have been taken off the list, or its token changed. */
function identifyAsker(asker: Asker, attempt: Attempt): Refused | null {
  const found = identify(attempt.judgement.identity, asker)
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

const refusedBy = ({ reason, rule, hint }: Denial): Refused => ({ kind: 'refused', reason, rule, hint })

function denied(denial: Denial, body: OutgoingBody | null): Ruled {
  const { reason, rule } = denial
  if (denial.observed === null) return refusedBy(denial)
  return {
    kind: 'proceed',
    permit: denial.observed,
    decision: { decision: 'deny', enforced: false, rule, reason },
    body,
  }
}

function limited(permit: Permit, body: OutgoingBody | null, attempt: Attempt, deps: Deps): Ruled {
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

/** `whole`: the body as far as it was read to be judged, null where nobody has looked at it. */
function ruledBy({ verdict, subject }: Ruling, whole: Inspected | null, about: Case): Ruled {
  const { incoming, body, attempt, deps } = about
  const replay = body === null || whole === null ? body : { reader: chain(whole), length: body.length }
  const final = verdict.kind === 'needs-body' ? judgeWhole(verdict, whole, subject, incoming, attempt) : verdict
  if (final.kind === 'denial') {
    attempt.flags.push(...(final.flags ?? []))
    return denied(final, replay)
  }
  return limited(final.permit, replay, attempt, deps)
}

function judgeWhole(
  needs: NeedsBody,
  whole: Inspected | null,
  subject: Subject,
  incoming: IncomingRequest,
  attempt: Attempt,
): ReturnType<typeof judgeBody> {
  const content = whole?.content ?? { kind: 'decoded', bytes: EMPTY }
  return judgeBody(attempt.judgement.policy, subject, needs, {
    bytes: content.kind === 'decoded' ? content.bytes : EMPTY,
    undecodable: content.kind === 'decoded' ? null : content.why,
    complete: whole?.complete ?? false,
    contentType: soleValue(incoming.head.headers, 'content-type'),
  })
}

/** `reloaded`: another policy than that of the attempt has come into force, whether `reading` is done or not. */
async function unlessReloaded<T>(reading: Promise<T>, attempt: Attempt, deps: Deps): Promise<T | 'reloaded'> {
  let rejudge = (): void => undefined
  const reloaded = new Promise<'reloaded'>((resolve) => {
    rejudge = () => resolve('reloaded')
  })
  const waiting = { rejudge: () => rejudge() }
  deps.live.add(waiting, attempt.judgement)
  const first = await Promise.race([reading, reloaded])
  deps.live.remove(waiting)
  return deps.judgement() === attempt.judgement ? first : 'reloaded'
}
