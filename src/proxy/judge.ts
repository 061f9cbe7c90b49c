// Judges one request from head to permit: name, client, address, policy, body, limits. Sends nothing and writes nothing.

import { judgeAddress } from '../core/address-class.ts'
import { soleValue } from '../core/http1.ts'
import { identify } from '../core/identity.ts'
import { type BodyJudgement, judgeBody } from '../core/body-judgement.ts'
import { type BodyForm, soughtForm } from '../core/injection.ts'
import { decide, limitDenied, type Policy, secretDenied } from '../core/policy.ts'
import type { Reason } from '../core/refusal.ts'
import type { Denial, MethodRate, NeedsBody, Permit, Subject, Verdict } from '../core/rule.ts'
import type { Asker } from '../core/revocation.ts'
import { type Guard, guardFor, type Leak } from '../core/secret.ts'
import { leakInHead } from '../core/secret-head.ts'
import { readSubject } from '../core/subject.ts'
import { type Handshake, readHandshake } from '../core/websocket.ts'
import type { RateState } from './answer.ts'
import { askerOf, missesCredentials } from './asker.ts'
import type { Attempt, Decision } from './attempt.ts'
import type { Connection } from './connection.ts'
import type { Deps } from './deps.ts'
import { bodyToJudge, capBody, type Inspected, readWhole } from './inspected-body.ts'
import { flagsOf, NOTHING, type Sighting, sightInBody, sightInHead } from './inject.ts'
import { isRecordedMcp, mcpFieldsOf, recordedCalls } from './mcp-recognition.ts'
import type { IncomingRequest } from './message.ts'
import { usedUp } from './rate-buckets.ts'
import { unlessReloaded } from './reloaded.ts'
import { bodyToSend, leakInBody, readForSecrets } from './secret-scan.ts'
import type { OutgoingBody } from './upstream.ts'

const NO_RATES: readonly MethodRate[] = []

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
  /** Null: it may hold any secret. */
  readonly guard: Guard | null
  /** Of placeholders in the head. */
  readonly sighting: Sighting
  /** How the body is looked through for placeholders, null: it is not. */
  readonly form: BodyForm | null
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
  const { headers } = incoming.head
  if (ruling.verdict.kind === 'needs-body' || ruling.form !== null || isRecordedMcp(incoming, about.body)) {
    const reading = readWhole(about.body, soleValue(headers, 'content-encoding'), connection.source)
    return judgeWithBody(read.subject, ruling, reading, about)
  }
  if (ruling.guard === null || about.body === null) return concluded(ruling, null, about)
  return judgeWithBody(read.subject, ruling, readForSecrets(about.body, headers, connection.source), about)
}

/** A body that is being read is waited for in any case: it has to be sent from its beginning. */
async function judgeWithBody(
  read: Unidentified,
  first: Ruling,
  reading: Promise<Inspected>,
  about: Case,
): Promise<Judged> {
  const { attempt, deps } = about
  let ruling = first
  for (;;) {
    const whole = await unlessReloaded(reading, attempt, deps)
    if (whole === 'reloaded') {
      const again = ruleBefore(read, about)
      if (again.kind === 'refused') return again
      ruling = again
    } else if (whole.failure !== null && needsWhole(ruling)) {
      return refused(whole.failure.reason, whole.failure.detail)
    } else {
      return concluded(ruling, whole, about)
    }
  }
}

const needsWhole = ({ verdict, guard, form }: Ruling): boolean =>
  verdict.kind === 'needs-body' || guard !== null || form !== null

/** What the policy in force says before it has seen a body. */
function ruleBefore(read: Unidentified, { connection, incoming, attempt, deps, asker, body }: Case): Refused | Ruling {
  // SECURITY: what decides is the policy in force now; another may have come while the body was awaited.
  attempt.judgement = deps.judgement()
  const identified = identifyAsker(asker, attempt)
  if (identified !== null) return identified
  const subject = subjectOf(read, attempt.client.name)
  const literal = judgeLiteral(subject, attempt, deps)
  if (literal !== null) return literal
  const { policy, secrets, injections } = attempt.judgement
  const { headers } = incoming.head
  const guard = guardFor(secrets, subject.host)
  const leak = guard === null ? null : leakInHead(incoming.head, subject.host.text, guard)
  const sighting = sightInHead(injections, headers, subject)
  const verdict = denialBySecret(policy, subject, leak, sighting) ?? decide(policy, subject)
  if (verdict.kind === 'denial' && missesCredentials(connection, subject, verdict.reason, attempt)) {
    return refused('proxy_auth', 'a client with proxy credentials may do this')
  }
  if (verdict.kind === 'denial' && verdict.observed === null) {
    attempt.flags.push(...(verdict.flags ?? []), ...sighting.flags)
    return refusedBy(verdict)
  }
  const form = injections === null || body === null ? null : soughtForm(injections, subject, headers)
  return { kind: 'ruling', verdict, subject, guard, sighting, form }
}

/** Null: no secret leaves that may not, and none is to be put in where it may not. */
function denialBySecret(policy: Policy, subject: Subject, leak: Leak | null, { denial }: Sighting): Denial | null {
  if (leak !== null) return secretDenied(policy, subject, leak)
  return denial === null ? null : secretDenied(policy, subject, denial, 'inject')
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

/** SECURITY: also inside a CONNECT: its client may have been taken off the list, or its token changed. */
function identifyAsker(asker: Asker, attempt: Attempt): Refused | null {
  const found = identify(attempt.judgement.identity, asker)
  if (found.kind === 'invalid') {
    if (found.flag !== undefined) attempt.flags.push(found.flag)
    return refused('proxy_auth', 'the proxy credentials are not those of a client')
  }
  attempt.client = { name: found.name, by: found.by }
  return null
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

function limited(
  permit: Permit,
  rates: readonly MethodRate[],
  body: OutgoingBody | null,
  attempt: Attempt,
  deps: Deps,
): Ruled {
  const { policy, mode } = attempt.judgement
  const limit = permit.limits.requestBytes
  if (limit !== null && (body?.length ?? 0) > limit)
    return denied(limitDenied('request_too_large', permit, policy), body)
  const used = usedUp(permit, rates, deps)
  if (used !== null) {
    const judged = denied(limitDenied('rate_limited', permit, policy, used.of), body)
    return judged.kind === 'refused' ? { ...judged, rate: used.state } : judged
  }
  const allowed: Decision = { decision: 'allow', enforced: mode === 'enforce', rule: permit.rule, reason: null }
  const capped =
    body === null || limit === null || mode === 'observe' ? body : { ...body, reader: capBody(body.reader, limit) }
  return { kind: 'proceed', permit, decision: allowed, body: capped }
}

/** `whole`: the body as far as it was read to be judged, null where nobody has looked at it. */
function ruledBy({ verdict, subject, guard, sighting, form }: Ruling, whole: Inspected | null, about: Case): Ruled {
  const { incoming, attempt, deps } = about
  const { headers } = incoming.head
  const { policy, injections } = attempt.judgement
  const leak = guard === null || whole === null ? null : leakInBody(whole, headers, guard)
  const inBody =
    injections === null || form === null || whole === null ? NOTHING : sightInBody(injections, form, whole, subject)
  const denial = denialBySecret(policy, subject, leak, inBody)
  attempt.flags.push(...flagsOf(sighting, inBody))
  const judged =
    verdict.kind === 'needs-body' && denial === null
      ? judgeWhole(verdict, whole, subject, incoming, attempt, deps)
      : null
  if (judged === null && whole !== null && isRecordedMcp(incoming, about.body))
    attempt.calls = recordedCalls(whole, headers)
  const body = bodyToSend(about.body, whole, leak === null ? guard : null, attempt)
  const final = denial ?? judged?.verdict ?? (verdict as Exclude<Verdict, NeedsBody>)
  if (final.kind === 'permit') {
    const ruled = limited(final.permit, judged?.rates ?? NO_RATES, body, attempt, deps)
    const learned = ruled.kind === 'proceed' && ruled.decision.decision === 'allow' ? judged?.shape.learned : undefined
    if (learned !== undefined && final.permit.rule !== null) deps.shapes.learn(final.permit.rule, learned)
    return ruled
  }
  attempt.flags.push(...(final.flags ?? []))
  return denied(final, body)
}

function judgeWhole(
  needs: NeedsBody,
  whole: Inspected | null,
  subject: Subject,
  incoming: IncomingRequest,
  attempt: Attempt,
  { shapes }: Deps,
): BodyJudgement {
  const { headers } = incoming.head
  const body = { ...bodyToJudge(whole, headers), mcpFields: mcpFieldsOf(headers) }
  const judged = judgeBody(attempt.judgement.policy, subject, needs, body, shapes)
  attempt.calls = judged
  attempt.flags.push(...judged.shape.flags)
  return judged
}
