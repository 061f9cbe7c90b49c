// What the name server needs from outside itself.

import type { DnsSettings } from '../../config/schema-dns.ts'
import type { Deps } from '../../proxy/deps.ts'
import type { Resolver } from '../../proxy/resolver.ts'

export interface NameServerDeps extends Pick<Deps, 'judgement' | 'trail' | 'redactor' | 'metrics' | 'onDecision'> {
  /** Read for each question: a reload swaps the whole value. */
  readonly settings: () => DnsSettings
  /** Asked only where `settings().answers` is `resolved`, and after the record. */
  readonly resolver: Resolver
  /** Milliseconds of a clock that never goes back. */
  readonly clock: () => number
  /** Hears of what must not happen: an answer that threw, a socket that failed. */
  readonly onFault: (error: unknown) => void
}
