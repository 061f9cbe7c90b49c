// The records of one attempt: exactly one decision, written before anything happens, and exactly one end.

import type { BodyJudgement } from '../core/body-judgement.ts'
import type { RawHeaders } from '../core/http1.ts'
import { auditLevel } from '../core/policy.ts'
import type { Outcome, Protocol } from '../core/record.ts'
import type { Reason } from '../core/refusal.ts'
import type { AuditLevel } from '../core/rule.ts'
import type { Leak } from '../core/secret.ts'
import type { RequestFacts } from '../core/subject.ts'
import type { ClientIdentity, Connection } from './connection.ts'
import type { Deps, Judgement } from './deps.ts'
import type { ClientLink } from './message.ts'
import type { SentSoFar } from './origin-message.ts'
import { BodyTap, recordedFields, recordedMessages, recordedOperations, tapped } from './recording.ts'
import type { OutgoingBody, UpstreamTimings } from './upstream.ts'

/** The messages of MCP and operations of GraphQL in a body. */
export type Calls = Pick<BodyJudgement, 'mcp' | 'graphql'>

export interface Decision {
  readonly decision: 'allow' | 'deny'
  readonly enforced: boolean
  readonly rule: string | null
  readonly reason: Reason | null
}

/** What was refused by us after the decision; everything else that goes wrong on the way is the other side's doing. */
const OUTCOME_OF: ReadonlyMap<Reason, Outcome> = new Map([
  ['address_denied', 'refused'],
  ['self', 'refused'],
  ['denied_by_rule', 'refused'],
  ['malformed', 'refused'],
  ['client_timeout', 'refused'],
  ['request_too_large', 'refused'],
  ['response_too_large', 'refused'],
  ['overloaded', 'refused'],
  ['client_aborted', 'client_aborted'],
])

const OUTCOME_OF_LOSS = {
  client_aborted: 'client_aborted',
  shutting_down: 'interrupted',
  policy_revoked: 'revoked',
  audit_unavailable: 'interrupted',
} as const

/** An end that can not be written is the trail's to tell of. */
const NOTHING = (): void => undefined

const NO_FACTS: RequestFacts = {
  method: '',
  scheme: 'http',
  host: null,
  port: null,
  path: null,
  query: null,
  hostHeader: null,
  url: null,
}

export class Attempt {
  readonly requestId: string
  /** What it is decided by: at the time of the decision the one in force. */
  judgement: Judgement
  readonly #connection: Connection
  readonly #deps: Deps
  readonly #protocol: Protocol
  readonly #started: number
  #decided = false
  #ended = false
  facts: RequestFacts | null = null
  /** Of the request, null where there are none to record. */
  headers: RawHeaders | null = null
  /** The request is a gRPC call. */
  grpc = false
  /** What its body was seen to hold, null where nobody has looked. */
  calls: Calls | null = null
  /** What its client was told, null as long as it was not. */
  grpcStatus: number | null = null
  #level: AuditLevel = 'metadata'
  #responseHeaders: RawHeaders | null = null
  #requestBody: BodyTap | null = null
  #responseBody: BodyTap | null = null
  client: ClientIdentity
  status: number | null = null
  reason: Reason | null = null
  outcome: Outcome = 'failed'
  upstreamAddress: string | null = null
  timings: UpstreamTimings = { dns: null, connect: null, tls: null, firstByte: null }
  flags: string[] = []
  /** Seen in its body after the decision. */
  leak: Leak | null = null
  readonly sent: SentSoFar = { bytes: 0, trailerNames: [], address: null }
  bytesReceived = 0

  constructor(connection: Connection, protocol: Protocol, deps: Deps) {
    this.#connection = connection
    this.#deps = deps
    this.#protocol = protocol
    this.judgement = deps.judgement()
    this.requestId = deps.newId()
    this.#started = performance.now()
    this.client = connection.client ?? { name: 'anonymous', by: 'anonymous' }
  }

  /** The decision is down. */
  get decided(): boolean {
    return this.#decided
  }

  /** Resolves true when the decision is down. SECURITY: on false nothing may leave and nothing else may be answered than 503. */
  async decide(decision: Decision): Promise<boolean> {
    const connection = this.#connection
    const facts = this.facts ?? { ...NO_FACTS, scheme: connection.names.scheme }
    const expected = connection.names.expected
    const { redactor } = this.#deps
    this.reason = decision.reason
    this.#level = auditLevel(this.judgement.policy, decision.rule)
    const named = facts.host ?? expected?.host.text ?? null
    const host = named === null ? null : redactor.name(named)
    const path = facts.path === null ? null : redactor.path(facts.path)
    const method = this.facts === null ? null : redactor.text(facts.method)
    try {
      await this.#deps.trail.append({
        event: 'request.decided',
        request_id: this.requestId,
        connection_id: connection.id,
        door: connection.door,
        client: { name: this.client.name, source: connection.source },
        decision: decision.decision,
        enforced: decision.enforced,
        rule: decision.rule,
        reason: decision.reason,
        mode: this.judgement.mode,
        policy: this.judgement.policyHash,
        method,
        scheme: facts.scheme,
        host,
        port: facts.port ?? expected?.port ?? connection.names.port,
        path,
        query: redactor.query(facts.query),
        protocol: this.#protocol,
        sni: connection.sni === null ? null : redactor.name(connection.sni),
        original_destination: connection.originalDestination,
        mcp: recordedMessages(this.calls?.mcp, redactor),
        graphql: recordedOperations(this.calls?.graphql, redactor),
        // SECURITY: a flag may repeat what a body calls its members. One that is the rule, as of a secret, is the configuration's.
        security_flags:
          this.flags.length === 0
            ? connection.securityFlags
            : [
                ...connection.securityFlags,
                ...this.flags.map((flag) => (flag === decision.rule ? flag : redactor.text(flag))),
              ],
        names: decision.reason === 'identity_mismatch' ? this.#names(facts) : undefined,
        request_headers:
          this.#level === 'metadata' || this.headers === null ? undefined : recordedFields(this.headers, redactor),
      })
    } catch {
      this.#deps.metrics.unrecorded()
      return false
    }
    this.#decided = true
    const { metrics, onDecision } = this.#deps
    metrics.decided({ decision: decision.decision, reason: decision.reason, client: this.client.name })
    // SECURITY: what is shown is redacted as what is recorded: a terminal may be a file.
    onDecision?.({
      ...decision,
      client: this.client.name,
      method,
      url: `${facts.scheme}://${host ?? '?'}${path ?? ''}`,
      requestId: this.requestId,
    })
    return true
  }

  /** Nobody is left to answer: the client went away, a shutdown would not wait for it any longer, or the policy took it back. */
  lost({ interrupted }: Pick<ClientLink, 'interrupted'>): void {
    const why = interrupted ?? 'client_aborted'
    this.reason = why
    this.outcome = OUTCOME_OF_LOSS[why]
  }

  /** It came to no good end, `reason` says whose doing it was: the proxy's, the client's, or else `otherwise`. */
  broke(reason: Reason, otherwise: 'failed' | 'upstream_aborted'): void {
    this.reason = reason
    this.outcome = OUTCOME_OF.get(reason) ?? otherwise
  }

  /** Writes the end. Called once, from a `finally`; a decision that could not be written has no end either. */
  complete(): void {
    if (this.#ended || !this.#decided) return
    this.#ended = true
    const durationMs = performance.now() - this.#started
    if (this.outcome === 'revoked') this.#deps.metrics.revoked()
    this.#deps.metrics.completed({
      durationMs,
      bytesSent: this.sent.bytes,
      bytesReceived: this.bytesReceived,
    })
    const { redactor } = this.#deps
    const { trailerNames } = this.sent
    const { dns, connect, tls, firstByte } = this.timings
    this.#deps.trail
      .append({
        event: 'request.completed',
        request_id: this.requestId,
        outcome: this.outcome,
        reason: this.reason,
        status: this.status,
        grpc_status: this.grpc ? this.grpcStatus : undefined,
        upstream_address: this.upstreamAddress,
        bytes_sent: this.sent.bytes,
        bytes_received: this.bytesReceived,
        duration_ms: round(durationMs),
        timings: { dns: round(dns), connect: round(connect), tls: round(tls), first_byte: round(firstByte) },
        security_flags: this.#flagsOfEnd(trailerNames),
        response_headers: this.#responseHeaders === null ? undefined : recordedFields(this.#responseHeaders, redactor),
        request_body: this.#requestBody?.record(redactor),
        response_body: this.#responseBody?.record(redactor),
      })
      .catch(NOTHING)
  }

  #flagsOfEnd(trailerNames: readonly string[]): readonly string[] | undefined {
    if (trailerNames.length === 0 && this.leak === null) return undefined
    const dropped = trailerNames.map((name) => `trailer_dropped:${this.#deps.redactor.name(name)}`)
    return this.leak === null ? dropped : [`secret:${this.leak.name}`, ...dropped]
  }

  /** The body as it is to be sent, recorded on its way where the rule says so. Only after `decide`. */
  recordRequestBody(body: OutgoingBody | null): OutgoingBody | null {
    if (body === null || this.#level !== 'body') return body
    this.#requestBody = new BodyTap(this.judgement.bodyPrefix, this.headers ?? [])
    return { ...body, reader: tapped(body.reader, this.#requestBody) }
  }

  /** The origin's answer begins. */
  recordResponse(headers: RawHeaders): void {
    if (this.#level === 'metadata') return
    this.#responseHeaders = headers
    if (this.#level === 'body') this.#responseBody = new BodyTap(this.judgement.bodyPrefix, headers)
  }

  /** The origin has switched protocols: what hears of the payload each way, null where the rule has no bodies recorded. */
  recordTunnel(
    headers: RawHeaders,
    encoding: string | null,
  ): { readonly sent: BodyTap; readonly received: BodyTap } | null {
    if (this.#level !== 'metadata') this.#responseHeaders = headers
    if (this.#level !== 'body') return null
    // SECURITY: what an extension has made of a payload can not be searched for secrets, so nothing of it is shown.
    const about = encoding === null ? [] : ['content-encoding', encoding]
    const tap = (): BodyTap => new BodyTap(this.judgement.bodyPrefix, about)
    return { sent: (this.#requestBody = tap()), received: (this.#responseBody = tap()) }
  }

  received(data: Buffer): void {
    this.bytesReceived += data.length
    this.#responseBody?.add(data)
  }

  #names(facts: RequestFacts): Record<string, string> {
    const connection = this.#connection
    const names: Record<string, string> = {}
    const heard = {
      connect: connection.connectAuthority,
      sni: connection.sni,
      host: facts.hostHeader,
      url: facts.url,
    }
    for (const [from, name] of Object.entries(heard)) {
      if (name !== null) names[from] = this.#deps.redactor.name(name)
    }
    return names
  }
}

/** Milliseconds to the microsecond, null kept. */
function round(ms: number): number
function round(ms: number | null): number | null
function round(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms * 1_000) / 1_000
}
