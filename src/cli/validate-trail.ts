// What a trail shows of a policy: rules that none of its requests matched, and hosts that were asked for in another form than they are written.

import { type Batch, parseRecord, type TrailRecord } from '../audit/read.ts'
import { judgeRequest, readRequest } from '../config/judge-request.ts'
import { inFile } from '../config/lint.ts'
import type { Config } from '../config/load.ts'
import type { Finding } from '../config/problem.ts'
import { type MissingName, missingOf, rulesNaming } from '../core/considered.ts'
import type { Subject } from '../core/rule.ts'
import type { CompiledRule } from '../core/rule-compile.ts'
import { requestsInOrder } from './audit-requests.ts'
import { clientName, urlOf } from './audit-text.ts'
import { type AskedHosts, noteHost, unmetHosts, wantedHosts } from './validate-hosts.ts'

export interface TrailFindings {
  readonly requests: number
  readonly findings: readonly Finding[]
}

/** Different requests remembered, so that each is judged once; past them some are judged again. */
const MAX_REMEMBERED = 100_000
const SWITCHED = 101

/** Of what passed undecrypted, or stands redacted in a trail, this is not known: a rule may have matched it. */
const UNSEEN: ReadonlySet<MissingName> = new Set(['path', 'method', 'upgrade', 'encoded_slash'])
const REDACTED: ReadonlySet<MissingName> = new Set(['path', 'encoded_slash'])
const NOTHING: ReadonlySet<MissingName> = new Set()

interface Tally {
  requests: number
  /** Rules that nothing has matched so far: those that open something. A deny rule that never matched is as it should be. */
  readonly unmatched: Set<CompiledRule>
  readonly hosts: AskedHosts
  readonly remembered: Set<string>
}

/** Judges each request of the trail anew, by `config`. */
export async function lintTrail(config: Config, batches: AsyncIterable<Batch>): Promise<TrailFindings> {
  const opening = [...config.policy.rules.values()].filter(({ kind }) => kind !== 'deny')
  const tally: Tally = {
    requests: 0,
    unmatched: new Set(opening),
    hosts: wantedHosts(opening),
    remembered: new Set(),
  }
  for await (const batch of requestsInOrder(batches, { decided: () => true, ended: null, all: true })) {
    for (const { decided, completed } of batch) {
      const record = parseRecord(decided)
      if (record !== null) note(config, tally, record, completed === null ? null : parseRecord(completed))
    }
  }
  return { requests: tally.requests, findings: tally.requests === 0 ? [] : findingsOf(config, tally) }
}

function note(config: Config, tally: Tally, decided: TrailRecord, completed: TrailRecord | null): void {
  const client = clientName(decided)
  if (typeof client !== 'string' || typeof decided['host'] !== 'string') return
  tally.requests += 1
  const { method } = decided
  const spliced = typeof method !== 'string'
  const plain = urlOf({ ...decided, query: null, ...(spliced ? { scheme: 'https', path: '/' } : {}) })
  const url = completed?.['status'] === SWITCHED ? `ws${plain.slice('http'.length)}` : plain
  const key = JSON.stringify([client, method, url])
  if (tally.remembered.has(key)) return
  if (tally.remembered.size < MAX_REMEMBERED) tally.remembered.add(key)
  const asked = spliced ? 'CONNECT' : method
  const read = readRequest(client, asked, url)
  if (read.kind === 'refused') return
  const unknown = spliced ? UNSEEN : url.includes('hmac:') ? REDACTED : NOTHING
  strike(config, tally, read.request, unknown)
  noteHost(tally.hosts, read.request, () => judgeRequest(config, client, asked, url).reason === 'no_matching_rule')
}

/** Takes off the rules that match, or may have matched. */
function strike(config: Config, { unmatched }: Tally, request: Subject, unknown: ReadonlySet<MissingName>): void {
  if (unmatched.size === 0) return
  for (const rule of rulesNaming(config.policy, request.host)) {
    if (unmatched.has(rule) && missingOf(rule, request).every((name) => unknown.has(name))) unmatched.delete(rule)
  }
}

function findingsOf(config: Config, { requests, unmatched, hosts }: Tally): readonly Finding[] {
  const unmet = unmetHosts(hosts)
  const explained = new Set(unmet.map(({ rule }) => rule))
  const message = `none of the ${requests} requests in the trail matched this rule`
  const fix = 'remove it if nothing needs it: what is not open can not be misused'
  const unused = [...unmatched].filter((rule) => !explained.has(rule) && isUnused(config, rule, unmatched))
  return [
    ...unmet.flatMap(({ rule, lint }) => inFile(config, rule, lint)),
    ...unused.flatMap(({ order }) => {
      const origin = config.origins[order]
      return origin === undefined ? [] : [{ place: ['rules', origin.index], message, fix }]
    }),
  ]
}

/** A rule that was made into several is used if one of them is. */
function isUnused({ origins, policy }: Config, rule: CompiledRule, unmatched: ReadonlySet<CompiledRule>): boolean {
  const origin = origins[rule.order]
  if (origin === undefined || origin.operation === null) return true
  return [...policy.rules.values()].every(
    (other) => origins[other.order]?.index !== origin.index || unmatched.has(other),
  )
}
