// Answers one DNS message: bounds, judgement, the record, and only then the answer.

import { isIPv6 } from 'node:net'
import type { DnsSettings } from '../../config/schema-dns.ts'
import { judgeAddress } from '../../core/address-class.ts'
import { identify } from '../../core/identity.ts'
import { judgeName, type NameVerdict, newNamesDenied } from '../../core/question.ts'
import type { DnsQuestion } from '../../core/record.ts'
import { createLimiter, type Limiter } from '../../limits/limiter.ts'
import type { Judgement } from '../../proxy/deps.ts'
import type { NameServerDeps } from './deps.ts'
import {
  type Answer,
  type Asked,
  BLOCKED,
  CLASS_IN,
  MAX_ADDRESSES,
  type Query,
  RCODE,
  readMessage,
  TYPE_A,
  TYPE_AAAA,
  writeAnswer,
} from './message.ts'
import { NewNames } from './new-names.ts'
import { type Surplus, SurplusCounter } from './surplus.ts'

/** Sources with a bucket of their own; those that have been quiet make room, and else a new one is refused. */
const MAX_SOURCES = 4_096
/** Questions that wait for the trail or for a name server. */
const MAX_IN_FLIGHT = 1_024
const LOOPBACK = ['127.0.0.1', '::1']
const NO_NAME = { name: null, type: null }

/** Who asked: `source` is a canonical address, `reached` finds the address of ours that was asked, null where unknown. */
export interface Asker {
  readonly source: string
  readonly reached: () => Promise<string | null>
}

type Recorded = Pick<DnsQuestion, 'question' | 'decision' | 'rule' | 'reason' | 'answer'> &
  Partial<Pick<DnsQuestion, 'enforced' | 'count' | 'security_flags'>>

/** One question under way: who asks, and what was in force when it came. */
interface Inquiry {
  readonly asker: Asker
  readonly client: string
  readonly judgement: Judgement
  readonly settings: DnsSettings
}

export class Responder {
  readonly #deps: NameServerDeps
  readonly #limiter: Limiter = createLimiter(MAX_SOURCES)
  readonly #newNames = new NewNames()
  readonly #surplus: SurplusCounter
  #inFlight = 0

  constructor(deps: NameServerDeps) {
    this.#deps = deps
    this.#surplus = new SurplusCounter((surplus) => this.#recordSurplus(surplus))
  }

  /** The answer to `bytes`, or null where there is none to give. */
  async respond(bytes: Buffer, asker: Asker): Promise<Buffer | null> {
    const read = readMessage(bytes)
    if (read.kind === 'ignored') return null
    const judgement = this.#deps.judgement()
    const settings = this.#deps.settings()
    const inquiry: Inquiry = { asker, client: clientOf(judgement, asker.source), judgement, settings }
    const asked = read.kind === 'query' ? read.query : read.asked
    if (!this.#limiter.take(asker.source, settings.rate, this.#deps.clock()).ok) {
      this.#surplus.add(inquiry.client, asker.source, 'rate_limited')
      return writeAnswer(asked, { rcode: RCODE.refused })
    }
    if (this.#inFlight >= MAX_IN_FLIGHT) {
      this.#surplus.add(inquiry.client, asker.source, 'overloaded')
      return writeAnswer(asked, { rcode: RCODE.serverFailure })
    }
    this.#inFlight += 1
    try {
      if (read.kind === 'query') return await this.#answer(read.query, inquiry)
      const recorded = { question: NO_NAME, decision: 'deny', rule: null, reason: 'malformed', answer: 'none' } as const
      return await this.#recordThen(inquiry, recorded, asked, { rcode: read.rcode })
    } finally {
      this.#inFlight -= 1
    }
  }

  /** Writes what is only counted so far. */
  close(): Promise<void> {
    return this.#surplus.flush()
  }

  async #answer(query: Query, inquiry: Inquiry): Promise<Buffer> {
    const question = { name: this.#deps.redactor.name(query.name), type: query.typeName }
    if (query.class !== CLASS_IN) {
      const recorded = { question, decision: 'deny', rule: null, reason: 'no_matching_rule', answer: 'none' } as const
      return this.#recordThen(inquiry, recorded, query, { rcode: RCODE.refused })
    }
    const verdict = this.#judge(query, inquiry)
    if (verdict.kind === 'denied' && !verdict.observed) {
      const { rule, reason, flags } = verdict
      const recorded = { question, decision: 'deny', rule, reason, answer: 'none', security_flags: flags } as const
      return this.#recordThen(inquiry, recorded, query, { rcode: RCODE.nameError, extendedError: BLOCKED })
    }
    // SECURITY: addresses of ours and nothing else: TXT, MX, CNAME and HTTPS (keys for ECH, ways around by QUIC) stay empty.
    const own = await this.#ownAddresses(query, verdict, inquiry)
    const kind = verdict.kind === 'loopback' ? 'loopback' : inquiry.settings.answers
    const answer = kind === 'resolved' ? isAddressType(query) : own.length > 0
    const recorded: Recorded = { question, ...decisionOf(verdict), answer: answer ? kind : 'none' }
    if (kind !== 'resolved' || !answer) {
      return this.#recordThen(inquiry, recorded, query, { rcode: RCODE.noError, addresses: own })
    }
    // SECURITY: a question to another name server is a byte upstream: not without its record.
    if (!(await this.#record(inquiry, recorded))) return writeAnswer(query, { rcode: RCODE.serverFailure })
    return writeAnswer(query, await this.#resolve(query, verdict.host?.text ?? '', question, inquiry))
  }

  #judge(query: Query, { client, judgement }: Inquiry): NameVerdict {
    const { policy } = judgement
    const verdict = judgeName(policy, client, query.name)
    if (verdict.kind !== 'granted' || verdict.below === '') return verdict
    // SECURITY: by name, not by address: who forges addresses would fill the table and shut the others out.
    const known = this.#newNames.admit(`${client} ${verdict.rule}`, verdict.host.text, this.#deps.clock())
    return known ? verdict : newNamesDenied(policy, verdict)
  }

  async #ownAddresses(query: Query, verdict: NameVerdict, { asker, settings }: Inquiry): Promise<readonly string[]> {
    const { answers, addresses } = settings
    if (!isAddressType(query)) return []
    if (verdict.kind === 'loopback') return ofFamily(query, LOOPBACK)
    if (answers === 'resolved') return []
    const ours = addresses === 'reached' ? [await asker.reached()] : addresses
    return ofFamily(
      query,
      ours.filter((address) => address !== null),
    )
  }

  async #resolve(query: Query, name: string, question: DnsQuestion['question'], inquiry: Inquiry): Promise<Answer> {
    const resolution = await this.#deps.resolver.resolve(name)
    // The question has its record: these say what came of it.
    const failed = { question, decision: 'deny', rule: null, answer: 'none', count: 0 } as const
    if (resolution.kind === 'failed') {
      if (resolution.detail === 'ENOTFOUND') return { rcode: RCODE.nameError }
      if (resolution.detail === 'ENODATA') return { rcode: RCODE.noError }
      await this.#record(inquiry, { ...failed, reason: 'dns_failed' })
      return { rcode: RCODE.serverFailure }
    }
    const { addresses: policy } = inquiry.judgement
    // SECURITY: one forbidden address refuses all, as for the proxy's own dials: an answer that mixes them is an attack.
    if (resolution.addresses.some((address) => !judgeAddress(policy, address).allowed)) {
      await this.#record(inquiry, { ...failed, reason: 'address_denied' })
      return { rcode: RCODE.noError, extendedError: BLOCKED }
    }
    return { rcode: RCODE.noError, addresses: ofFamily(query, resolution.addresses).slice(0, MAX_ADDRESSES) }
  }

  /** SECURITY: the record comes first; without it nothing is said but that something is wrong with the server. */
  async #recordThen(inquiry: Inquiry, recorded: Recorded, asked: Asked, answer: Answer): Promise<Buffer> {
    const written = await this.#record(inquiry, recorded)
    return writeAnswer(asked, written ? answer : { rcode: RCODE.serverFailure })
  }

  async #record({ asker, client, judgement }: Inquiry, recorded: Recorded): Promise<boolean> {
    const { trail, metrics, onDecision } = this.#deps
    const { question, decision, rule, reason, answer, enforced = true, count = 1, security_flags = [] } = recorded
    try {
      await trail.append({
        event: 'dns.question',
        client: { name: client, source: asker.source },
        question,
        decision,
        enforced,
        rule,
        reason,
        mode: judgement.mode,
        policy: judgement.policyHash,
        answer,
        count,
        security_flags,
      })
    } catch {
      metrics.unrecorded()
      return false
    }
    metrics.questioned({ decision, reason, client, count })
    const url = question.name ?? '?'
    // An allowed name is followed by its request, which has a line of its own.
    if (decision === 'deny')
      onDecision?.({ decision, enforced, reason, rule, client, method: 'DNS', url, requestId: '' })
    return true
  }

  async #recordSurplus({ client, source, reason, count }: Surplus): Promise<boolean> {
    const { trail, metrics, judgement } = this.#deps
    const { mode, policyHash } = judgement()
    try {
      await trail.append({
        event: 'dns.question',
        client: { name: client, source },
        question: NO_NAME,
        decision: 'deny',
        enforced: true,
        rule: null,
        reason,
        mode,
        policy: policyHash,
        answer: 'none',
        count,
        security_flags: ['dns_flood'],
      })
    } catch {
      metrics.unrecorded()
      return false
    }
    metrics.questioned({ decision: 'deny', reason, client, count })
    return true
  }
}

function clientOf(judgement: Judgement, source: string): string {
  const found = identify(judgement.identity, { source, credentials: null })
  return found.kind === 'client' ? found.name : 'anonymous'
}

function decisionOf(
  verdict: NameVerdict,
): Pick<DnsQuestion, 'decision' | 'enforced' | 'rule' | 'reason' | 'security_flags'> {
  if (verdict.kind === 'denied') {
    const { rule, reason, flags } = verdict
    return { decision: 'deny', enforced: false, rule, reason, security_flags: flags }
  }
  const rule = verdict.kind === 'granted' ? verdict.rule : null
  return { decision: 'allow', enforced: true, rule, reason: null, security_flags: [] }
}

function isAddressType({ type }: Query): boolean {
  return type === TYPE_A || type === TYPE_AAAA
}

function ofFamily({ type }: Query, addresses: readonly string[]): readonly string[] {
  return addresses.filter((address) => isIPv6(address) === (type === TYPE_AAAA))
}
