// Everything the corridor needs from outside itself, built once in the composition root.

import type { Socket } from 'node:net'
import type { SecureContext } from 'node:tls'
import type { Metrics } from '../audit/metrics.ts'
import type { Trail } from '../audit/trail.ts'
import type { Host } from '../core/address.ts'
import type { AddressPolicy } from '../core/address-class.ts'
import type { Identity } from '../core/identity.ts'
import type { InjectionPolicy } from '../core/injection.ts'
import type { Policy } from '../core/policy.ts'
import type { Redactor } from '../core/redact.ts'
import type { SecretPolicy } from '../core/secret.ts'
import type { KnownMembers } from '../core/shape.ts'
import type { Limiter } from '../limits/limiter.ts'
import type { DecisionLine } from './decision-line.ts'
import type { Deadlines } from './deadlines.ts'
import type { Live } from './live.ts'
import type { OriginalDestination } from './original-destination.ts'
import type { PeekDeadlines } from './peek.ts'
import type { Rejections } from './rejections.ts'
import type { Upstream } from './upstream.ts'

/** The policy in force and what is recorded of it. Read once for each decision: a reload swaps the whole value. */
export interface Judgement {
  readonly policy: Policy
  readonly policyHash: string
  readonly mode: 'enforce' | 'observe'
  readonly identity: Identity
  readonly addresses: AddressPolicy
  /** Secrets that may not go everywhere, null: there are none. */
  readonly secrets: SecretPolicy | null
  /** Placeholders and what they stand for, null: there are none. */
  readonly injections: InjectionPolicy | null
  /** Bytes of a body that are recorded where a rule has bodies recorded. */
  readonly bodyPrefix: number
}

export interface Leaves {
  /** Throws when no leaf can be made. */
  get(host: Host, options?: { readonly denied?: boolean }): SecureContext
}

/** What was learned of the bodies of each rule, and where more of it goes. */
export interface Shapes extends KnownMembers {
  /** `members`: as in `$.items[*].id`. */
  learn(rule: string, members: readonly string[]): void
}

export interface Deps {
  readonly judgement: () => Judgement
  readonly trail: Trail
  readonly redactor: Redactor
  readonly metrics: Metrics
  readonly limiter: Limiter
  readonly shapes: Shapes
  /** What is open and is judged again at a reload. */
  readonly live: Live
  readonly leaves: Leaves
  readonly rejections: Rejections
  readonly upstream: Upstream
  readonly originalDestination: (socket: Socket) => OriginalDestination
  /** One of our own listeners, by any address of this machine. */
  readonly isSelf: (address: string, port: number) => boolean
  /** Milliseconds since the epoch. */
  readonly now: () => number
  readonly newId: () => string
  readonly deadlines: Deadlines
  readonly peekDeadlines: PeekDeadlines
  readonly draining: () => boolean
  /** Null: nobody watches. */
  readonly onDecision: ((line: DecisionLine) => void) | null
}
