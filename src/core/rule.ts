// The vocabulary of policy: what a rule says, what a request is to policy, and what policy answers.

import type { Host } from './address.ts'
import type { Reason } from './refusal.ts'

/** One client as configured: found by source address, or by proxy credentials. Exactly one of the members beside `name` is set. */
export interface ClientSpec {
  readonly name: string
  readonly source?: readonly string[]
  readonly token?: string
  /** SHA-256 of its token, 64 lower-case hexadecimal digits: the token itself is not known here. */
  readonly tokenDigest?: string
  /** Only a signed token of `identity.jwt` names it. */
  readonly claimed?: true
}

/** Matchers of one rule, as written in the configuration (CONTRACT §2 "Matching"); every list is non-empty where set. */
export interface MatchSpec {
  readonly hosts: readonly string[]
  readonly methods?: readonly string[]
  readonly access?: 'read-only'
  readonly paths?: readonly string[]
  /** Taken out of `paths`. No file says it: the operations of an API description do that are not allowed. */
  readonly notPaths?: readonly string[]
  readonly schemes?: readonly ('http' | 'https')[]
  readonly ports?: readonly number[]
  readonly upgrade?: readonly string[]
  readonly encodedSlash?: boolean
}

export interface RateSpec {
  readonly requests: number
  readonly per: 'second' | 'minute' | 'hour'
  readonly burst?: number
}

/** Byte limits of a rule; null: none. */
export interface LimitSpec {
  readonly requestBytes: number | null
  readonly responseBytes: number | null
}

/** One condition on a body. `path`: in JSON the documented RFC 9535 subset, in a form the name of a field. */
export interface BodyCondition {
  /** Absent: JSON. */
  readonly in?: 'form' | 'multipart'
  readonly path: string
  readonly must: 'be-absent' | 'be-present' | 'match' | 'be-in' | 'be-at-most' | 'be-of-type'
  readonly value?: unknown
}

/** Conditions by kind of body, at least one list; a body of a kind without a list is not allowed. */
export interface BodySpec {
  readonly json?: readonly BodyCondition[]
  readonly form?: readonly BodyCondition[]
  readonly multipart?: readonly BodyCondition[]
}

/**
 * Messages of MCP that a rule allows, globs as in `match`. `methods`: beside those of every session, and those that `tools` and `resources`
 * are called by; omitted: those that list them. `tools` and `resources` omitted: any that a method of `methods` names. `rates`: a bucket per
 * method, rule and client.
 */
export interface McpSpec {
  readonly methods?: readonly string[]
  readonly tools?: readonly string[]
  readonly resources?: readonly string[]
  readonly rates?: readonly MethodRate[]
}

export interface MethodRate {
  readonly method: string
  readonly rate: RateSpec
}

/** Operations of GraphQL that a rule allows: their types, and globs on their names and on the members of the root they ask for. */
export interface GraphqlSpec {
  readonly operations: readonly ('query' | 'mutation' | 'subscription')[]
  readonly names?: readonly string[]
  readonly fields?: readonly string[]
}

/** What becomes of a member of a body that the rule has not seen before: it is remembered, flagged, or denied. */
export type ShapeMode = 'learn' | 'alert' | 'enforce'

/** One thing that a rule asks of a body before it allows the request. */
export type Demand =
  | BodyCondition
  | ({ readonly in: 'mcp' } & McpSpec)
  | ({ readonly in: 'graphql' } & GraphqlSpec)
  | { readonly in: 'shape' }

/** How much of a message is recorded: what it was about, its header fields too, or its bodies as well. */
export type AuditLevel = 'metadata' | 'headers' | 'body'

export type RuleSpec = {
  readonly id: string
  readonly clients?: readonly string[]
  readonly rate?: RateSpec
  readonly limits?: LimitSpec
  readonly body?: BodySpec
  readonly mcp?: McpSpec
  readonly graphql?: GraphqlSpec
  readonly shape?: ShapeMode
  readonly audit?: AuditLevel
} & (
  | { readonly kind: 'allow'; readonly match: MatchSpec }
  | { readonly kind: 'deny'; readonly match: MatchSpec }
  | { readonly kind: 'passthrough'; readonly match: MatchSpec }
)

export interface PolicySpec {
  readonly mode: 'enforce' | 'observe'
  readonly clients: readonly ClientSpec[]
  readonly rules: readonly RuleSpec[]
}

/** What a request is to policy: canonical values only, nothing of the wire but `target`, which is what will be sent. */
export interface Subject {
  readonly client: string
  readonly scheme: 'http' | 'https'
  readonly method: string
  readonly host: Host
  readonly port: number
  /** Canonical path, for matching only. */
  readonly path: string
  /** The canonical path still holds `%2F`: only rules with `encoded_slash: allow` may match it. */
  readonly encodedSlash: boolean
  /** Origin-form as the client spelled it, path and query: the bytes that will be sent. */
  readonly target: string
  /** Lower-case upgrade token asked for, or null. */
  readonly upgrade: string | null
  /** Names of method- or path-overriding headers present. */
  readonly overrideHeaders: readonly string[]
}

declare const permitted: unique symbol

/** Proof that policy allowed exactly this. Only core/policy.ts makes one; upstream takes nothing else. */
export interface Permit {
  readonly [permitted]: true
  readonly rule: string | null
  readonly client: string
  readonly scheme: 'http' | 'https'
  readonly method: string
  readonly host: Host
  readonly port: number
  readonly target: string
  readonly upgrade: string | null
  readonly rate: RateSpec | null
  readonly limits: LimitSpec
}

/** Policy said no. `observed` is set only in observe mode, where the request goes on all the same. */
export interface Denial {
  readonly kind: 'denial'
  readonly reason: Reason
  readonly rule: string | null
  readonly hint: string
  /** What of the request it is about, for `security_flags`: `body_rule:$.Bcc`. */
  readonly flags?: readonly string[]
  readonly observed: Permit | null
}

/** Only the body can tell: read at most `BODY_INSPECTION_LIMIT` bytes and ask `judgeBody`. */
export interface NeedsBody {
  readonly kind: 'needs-body'
  readonly candidates: readonly BodyCandidate[]
  /** What a denial by the body lets through all the same: set only in observe mode. */
  readonly observed: Permit | null
}

export interface BodyCandidate {
  readonly rule: string
  readonly permit: Permit
  readonly demands: readonly Demand[]
}

export type Verdict = { readonly kind: 'permit'; readonly permit: Permit } | Denial | NeedsBody
